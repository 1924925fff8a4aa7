"""Logging of the server to stderr: one line an event, as text or as JSON."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from headway.serving.protocol.errors import encode

_EVERY_S = 60.0
_INDENT = "\n  "  # before the second and the third part of a HeadwayError
_PLAIN = re.compile(r"[^\s=\"\\]+")


class Throttle:
    """Lets an event of each kind through once a minute, so that what fails continuously does not fill the log."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def count(self, kind: str) -> int:
        """Count an event, and return 0, or once a minute the number of events since the last that was let through."""
        now, count = self._now(), self._counts.get(kind, 0) + 1
        let_through = now >= self._last.get(kind, now - _EVERY_S) + _EVERY_S
        if let_through:
            self._last[kind] = now
        self._counts[kind] = 0 if let_through else count
        return count if let_through else 0


class TextFormatter(logging.Formatter):
    """Formats time, level, message and fields on one line; a traceback follows, each of its lines indented.

    Control characters are escaped and values with spaces are quoted: a caller, whose texts these may be, can neither
    begin a line nor add a field.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format an event."""
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items() if value != "")
        message = _escaped(record.getMessage().replace(_INDENT, "; "))
        line = f"{_at(record)} {record.levelname} {record.name}: {message}{fields}"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"  {_escaped(part)}" for part in traceback)])


class JsonFormatter(logging.Formatter):
    """Formats an event as one line of JSON, including a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Format an event."""
        event = {"at": _at(record), "level": record.levelname, "from": record.name, "message": record.getMessage()}
        traceback = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return encode({**event, **_fields(record), **traceback}).decode()


@contextmanager
def log_to_stderr(form: str) -> Iterator[None]:
    """Log to stderr as `text` or `json` within the block; of libraries, only warnings."""
    log, root, handler = logging.getLogger("headway"), logging.getLogger(), logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    level = log.level
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        root.removeHandler(handler)


def _quoted(value: object) -> str:
    text = str(value)
    return _escaped(text) if _PLAIN.fullmatch(text) else _escaped(encode(text).decode())


def _escaped(text: str) -> str:
    r"""Escape what is not printable.

    >>> _escaped("flights\n\x1b[2J")
    'flights\\n\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
