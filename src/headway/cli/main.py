"""The command line: one file a command under `commands/`, loaded only when it is called."""

from __future__ import annotations

import shlex
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App
from rich.console import Console

import headway
from headway.cli.interrupt import Heard
from headway.core import plugins
from headway.core.errors import HeadwayError, PluginError, Refused

PASS, FAIL, USAGE, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130
KEPT = "what was done is kept, nothing is left half-written"
HELP = """headway makes a trained model fast, proves that it is still right, ships it, and keeps it right.

Exit codes: 0 pass, 1 fail or refused, 2 usage or error, 3 undecided, 130 stopped by Ctrl-C."""


def app() -> App:
    """All commands, by name and what their file says of them; none of them is imported yet."""
    application = App(
        name="headway",
        help=HELP,
        version=headway.__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name in plugins.names("command"):
        examples = plugins.manual("command", name).replace("\nExample:", "\n\nExample:")
        help = f"{plugins.describe('command', name)}\n\n{examples}"
        application.command(f"headway.cli.commands.{name}:plugin", name=name, help=help)
    return application


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code; an error is told in three parts, never as a bare traceback."""
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        with Heard():
            code = app()(arguments)
    except HeadwayError as error:
        console.print(str(error), style="red" if isinstance(error, Refused) else "", markup=False)
        return FAIL if isinstance(error, Refused) else USAGE
    except KeyboardInterrupt as interrupt:
        again = shlex.join(["headway", *arguments])
        console.print(f"stopped: {str(interrupt) or KEPT}\n  to go on: {again}", markup=False)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever it is, the person gets the whole of it
        console.print(_unforeseen(error), markup=False)
        return USAGE
    return code if isinstance(code, int) else PASS


def _unforeseen(error: Exception) -> str:
    """What a person is told of an error that is none of ours: an absent library, the project's code, a defect."""
    absent = error.__cause__ or error  # a command that cannot be imported is told by cyclopts, with the cause
    library = (absent.name or "headway").partition(".")[0] if isinstance(absent, ModuleNotFoundError) else "headway"
    if library != "headway":
        return str(PluginError(f"this command needs '{library}'", hint=plugins.install(library)))
    trace = "".join(traceback.format_exception(error))
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(headway.__file__).parent))
    calls = [
        call for call in traceback.extract_tb(error.__traceback__) if not call.filename.startswith(("<", *libraries))
    ]
    if calls:
        return f"{trace}\nthe project's own code raised this\n  at: {calls[-1].filename}:{calls[-1].lineno}"
    return f"{trace}\nthis is a defect of headway: please report the lines above"
