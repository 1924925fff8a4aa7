"""Run all steps on real flights: check, train, optimize, judge, release, refuse, serve, report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from headway.cli.demo.run import run
from headway.reporting.console import print_result


def plugin(*, folder: Path = Path("headway-demo"), json: bool = False) -> None:
    """Run the demo in a new folder; the last line is the path of its report.

    Example: headway demo --folder headway-demo

    Parameters
    ----------
    folder
        Folder of the demo's project and report; another run continues from there.
    json
        Print one JSON object, the path of the report; progress is printed on stderr.
    """
    if json:
        print_result({"report": str(run(folder, screen=Console(stderr=True)).resolve())}, "", json=True)
    else:
        run(folder)
