"""What a server says of itself: a line an event on stderr, for people or, in JSON, for machines."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from headway.serving.protocol.errors import encode


class TextFormatter(logging.Formatter):
    """Time, level and words, then what is known by name; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of an event."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items() if value != "")
        line = f"{_at(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, a traceback in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of an event."""
        told = {"at": _at(record), "level": record.levelname, "from": record.name, "message": record.getMessage()}
        traceback = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return encode({**told, **_fields(record), **traceback}).decode()


@contextmanager
def log_to_stderr(form: str) -> Iterator[None]:
    """Let all that is logged be written to stderr, as `text` or `json`, until the end; of libraries, warnings alone."""
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


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
