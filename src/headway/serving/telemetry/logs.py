"""Logging of the server to stderr: one line an event, as text or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from headway.serving.protocol.errors import encode


class TextFormatter(logging.Formatter):
    """Formats time, level, message and fields on one line; a traceback follows on more lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Format an event."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items() if value != "")
        line = f"{_at(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _at(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
