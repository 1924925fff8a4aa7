"""The command line: one file per command under `commands/`, imported only when it is called."""

from __future__ import annotations

import _thread
import shlex
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

import headway
from headway.core import plugins
from headway.core.errors import HeadwayError, PluginError, Refused

PASS, FAIL, USAGE, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130
SAVED = "finished work is saved, no file is half-written"
HELP = """Make a trained model fast, prove that it is still right, release it, and keep it right.

Exit codes: 0 pass, 1 fail or refused, 2 usage or error, 3 undecided, 130 interrupted by Ctrl-C."""
FORMER_COMMANDS: dict[str, tuple[str, ...]] = {
    "label": ("labels", "add"),
    "drill": ("policy", "test"),
    "forget": ("erase",),
    "key": ("api-keys",),
}
"""Former commands, which work for one more version, with their current names."""
FORMER_FLAGS: dict[str, dict[str, str]] = {"watch": {"--period": "--interval"}}
RAISE_AGAIN_S = 0.05

ProjectFolder = Annotated[Path, Parameter(help="Folder with headway.toml.")]
SearchDigest = Annotated[str, Parameter(help="Digest of a search, or its first digits; default: the last search.")]
AsJson = Annotated[bool, Parameter(help="Print one JSON object.")]


def app(called: Collection[str] = ()) -> App:
    """Return the application with every command, by name and help text; no command is imported yet.

    The file of a command is only parsed, for its manual, if the command is among those that are called. Commands of
    other packages are looked up only if none of headway's own is called: that reads the metadata of all packages.
    """
    application = App(
        name="headway",
        help=HELP,
        version=headway.__version__,
        help_format="plaintext",  # the Markdown renderer costs 90 ms
        default_parameter=Parameter(negative_iterable=()),  # no --empty-scope next to --scope
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    own = plugins.own("command")
    names = own if any(command_name(name) in called for name in own) else plugins.names("command")
    for name in names:
        typed, help = command_name(name), plugins.describe("command", name)
        if typed in called:
            help = f"{help}\n\n{plugins.manual('command', name)}"
        application.command(f"{plugins.module_name('command', name)}:plugin", name=typed, help=help)
    return application


def command_name(plugin: str) -> str:
    """Return what a user types for the command in a file: `api-keys` for `api_keys`."""
    return plugin.replace("_", "-")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code.

    An error is printed as message, location and hint, without a traceback.
    """
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    arguments = _with_current_names(arguments, _console())
    try:
        with InterruptGuard():
            code = app(arguments)(arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost frame: the user gets the full error
        return report_error(error, arguments)
    return code if isinstance(code, int) else PASS


def report_error(error: Exception | KeyboardInterrupt, arguments: Sequence[str]) -> int:
    """Print the error that ended a command on stderr, and return the exit code."""
    console = _console()
    if isinstance(error, HeadwayError):
        console.print(_printable(str(error)), style="red" if isinstance(error, Refused) else "", markup=False)
        return FAIL if isinstance(error, Refused) else USAGE
    if isinstance(error, KeyboardInterrupt):
        again = shlex.join(["headway", *arguments])
        console.print(f"interrupted: {str(error) or SAVED}\n  to continue: {again}", markup=False)
        return INTERRUPTED
    console.print(_unexpected(error), markup=False)
    return USAGE


def _console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _with_current_names(arguments: list[str], console: Console) -> list[str]:
    """Replace a former command or flag by its current name, with a warning on stderr that names it."""
    if not arguments:
        return arguments
    command, *rest = arguments
    renamed = FORMER_COMMANDS.get(command, (command,))
    flags = FORMER_FLAGS.get(renamed[0], {})
    current = [*renamed]
    for argument in rest:
        name, equals, value = argument.partition("=")
        current.append(f"{flags.get(name, name)}{equals}{value}")
    pairs = [(f"headway {command}", f"headway {' '.join(renamed)}")] if renamed != (command,) else []
    pairs += [(old, new) for old, new in flags.items() if any(argument.partition("=")[0] == old for argument in rest)]
    for old, new in pairs:
        console.print(f"warning: {old!r} is now {new!r}; the old spelling ends with the next version", markup=False)
    return current


def _printable(text: str) -> str:
    """Return a text with control characters escaped: a file of others may hold them, and a terminal would obey them."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text)


def _unexpected(error: Exception) -> str:
    """Return the text for an error that headway did not raise: an absent library, the project's code, a defect."""
    absent = error.__cause__ or error  # cyclopts wraps the error of a command that cannot be imported
    library = (absent.name or "headway").partition(".")[0] if isinstance(absent, ModuleNotFoundError) else "headway"
    if library != "headway":
        return str(PluginError(f"this command needs '{library}'", hint=plugins.install(library)))
    trace = "".join(traceback.format_exception(error))
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(headway.__file__).parent))
    calls = [
        call for call in traceback.extract_tb(error.__traceback__) if not call.filename.startswith(("<", *libraries))
    ]
    if calls:
        return f"{trace}\nthe project's own code raised this error\n  at: {calls[-1].filename}:{calls[-1].lineno}"
    return f"{trace}\nthis is a defect of headway: please report the lines above"


def _is_interrupt(kind: type[BaseException], error: BaseException | None) -> bool:
    """Return whether an error is an interrupt, or was raised by C code because of one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None or issubclass(kind, KeyboardInterrupt)


class InterruptGuard:
    """Make Ctrl-C end a command even where a library swallows the interrupt.

    An interrupt that was dropped in a finalizer is raised again a moment later, and any error that follows an
    interrupt is raised as that interrupt.
    """

    def __init__(self) -> None:
        self._interrupted = self._is_in_hook = False
        self._timers: list[threading.Timer] = []
        self._hook, self._handler = sys.unraisablehook, signal.getsignal(signal.SIGINT)

    def __enter__(self) -> None:
        sys.unraisablehook = self._on_unraisable
        if self._handler is signal.default_int_handler and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._on_interrupt)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        sys.unraisablehook = self._hook
        for timer in self._timers:
            timer.cancel()
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._interrupted and kind and not issubclass(kind, KeyboardInterrupt | SystemExit):
            raise KeyboardInterrupt from error

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        if self._is_in_hook:  # what is raised there is dropped as well
            self._raise_later()
        else:
            signal.default_int_handler(number, frame)

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Handle what Python cannot raise: an error in a finalizer, or in a callback of a library."""
        if not _is_interrupt(unraisable.exc_type, unraisable.exc_value):
            self._hook(unraisable)
            return
        self._is_in_hook = True
        try:
            self._raise_later()
        finally:
            self._is_in_hook = False

    def _raise_later(self) -> None:
        self._timers.append(threading.Timer(RAISE_AGAIN_S, _thread.interrupt_main))
        self._timers[-1].start()
