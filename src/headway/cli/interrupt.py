"""Ctrl-C ends a command whatever a library makes of it: drop it in a finalizer, or turn it into an error of its own."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from types import FrameType, TracebackType

AGAIN_S = 0.05


class Heard:
    """Within, an interrupt that was dropped comes again a moment later, and any error after one is that interrupt."""

    def __init__(self) -> None:
        self._came = False
        self._again: list[threading.Timer] = []
        self._hook, self._told = sys.unraisablehook, signal.getsignal(signal.SIGINT)

    def __enter__(self) -> None:
        sys.unraisablehook = self._dropped
        if self._told is signal.default_int_handler and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupted)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        sys.unraisablehook = self._hook
        for timer in self._again:
            timer.cancel()
        if signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came and kind and not issubclass(kind, KeyboardInterrupt | SystemExit):
            raise KeyboardInterrupt from error

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        signal.default_int_handler(number, frame)

    def _dropped(self, what: sys.UnraisableHookArgs) -> None:
        """Python tells here what it cannot raise: in a finalizer, or where a library called back."""
        if not issubclass(what.exc_type, KeyboardInterrupt):
            self._hook(what)
            return
        self._again.append(threading.Timer(AGAIN_S, _thread.interrupt_main))
        self._again[-1].start()
