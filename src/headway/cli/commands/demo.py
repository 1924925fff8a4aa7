"""Run the whole road on real flights: check, train, optimize, judge, release, refuse, serve, report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from headway.cli.demo.run import run
from headway.reporting.console import print_result


def plugin(*, folder: Path = Path("headway-demo"), json: bool = False) -> None:
    """Run the demo in a folder of its own; the last line is the path of its report.

    Example: headway demo --folder headway-demo

    Parameters
    ----------
    folder
        Where the demo's project and report are written; run again, it goes on from there.
    json
        Print one JSON object, the path of the report; the rest is told on stderr.
    """
    if json:
        print_result({"report": str(run(folder, screen=Console(stderr=True)).resolve())}, "", json=True)
    else:
        run(folder)
