"""Run all steps on real flights: check, train, optimize, judge, release, refuse, serve, report."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from headway.cli.demo.run import run
from headway.cli.demo.support import run_support
from headway.core import config, plugins
from headway.reporting.console import print_result


def plugin(
    *,
    folder: Path = Path("headway-demo"),
    support: Annotated[bool, Parameter(negative=())] = False,
    json: bool = False,
) -> None:
    """Run the demo in a new folder; it ends with the path of its report and with the dashboard.

    On a terminal it serves the dashboard until Ctrl-C, and prints a link that signs you in once. Elsewhere the last
    line is the command that does so.

    Example: headway demo --folder headway-demo
    Example: headway demo --support --folder headway-support

    Parameters
    ----------
    folder
        Folder of the demo's project and report; another run continues from there.
    support
        Run the demo of messages instead: train, certify, serve, queue, shift, withdrawal, recovery. It needs the
        package home-assistant-intents.
    json
        Print one JSON object, the path of the report and the command; progress is printed on stderr.
    """
    command = shlex.join([_program(), "ui", "--project", str(folder)])
    start = run_support if support else run
    if json:
        report = start(folder, screen=Console(stderr=True)).resolve()
        print_result({"report": str(report), "dashboard": command}, "", json=True)
        return
    start(folder)
    if sys.stdin.isatty() and sys.stdout.isatty():
        start_dashboard(folder)
    else:
        print_result("", f"to see it in a browser: {command}", json=False)


def _program() -> str:
    """Return how a person calls headway in this shell: `make demo` runs that of `.venv`, which is not on the path."""
    called = sys.argv[0]
    return called if Path(called).name == "headway" and not shutil.which("headway") else "headway"


def start_dashboard(folder: Path) -> None:
    """Serve the dashboard of the demo on a free port until Ctrl-C, which ends the demo as well."""

    def announce(address: str) -> None:
        text = f"open this link in a browser; it signs you in once:\n  {address}\nCtrl-C ends the dashboard"
        print_result("", text, json=False, wrap=False)

    process = plugins.load_sibling("headway.dashboard.app", "process", reads="the dashboard")
    with suppress(KeyboardInterrupt):
        process.serve([config.load(folder, flags={"ui.port": "0"})], announce=announce)
