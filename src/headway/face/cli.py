"""The command line: one file a command under `commands/`, loaded only when it is called."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from cyclopts import App
from rich.console import Console

import headway
from headway.core import plugins
from headway.core.errors import HeadwayError, Refused

PASS, FAIL, USAGE, UNDECIDED = 0, 1, 2, 3
HELP = """headway makes a trained model fast, proves that it is still right, ships it, and keeps it right.

Exit codes: 0 pass, 1 fail or refused, 2 usage or error, 3 undecided."""


def app() -> App:
    """All commands, by name and the first line of their file; none of them is imported yet."""
    application = App(name="headway", help=HELP, version=headway.__version__, result_action="return_value")
    for name in plugins.names("command"):
        help = plugins.describe("command", name)
        application.command(f"headway.face.commands.{name}:plugin", name=name, help=help)
    return application


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; an error is told in three parts, never as a bare traceback."""
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        code = app()(arguments)
    except HeadwayError as error:
        console.print(str(error), style="red" if isinstance(error, Refused) else "", markup=False)
        return FAIL if isinstance(error, Refused) else USAGE
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except Exception:  # noqa: BLE001 - the outermost frame: whatever it is, the person gets the whole of it
        console.print(traceback.format_exc(), markup=False)
        console.print("this is a defect of headway: please report the lines above", markup=False)
        return USAGE
    return code if isinstance(code, int) else PASS
