"""Run the whole road on real flights: check, train, optimize, judge, release, refuse, serve, report."""

from __future__ import annotations

from pathlib import Path

from headway.face.demo.run import run


def plugin(*, folder: Path = Path("headway-demo")) -> None:
    """Run the demo in a folder of its own; the last line is the path of its report.

    Example: headway demo --folder headway-demo

    Parameters
    ----------
    folder
        Where the demo's project and report are written; run again, it goes on from there.
    """
    run(folder)
