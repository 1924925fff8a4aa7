"""HTTP status lines and the JSON of errors; status codes live in this package alone."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from headway.core.errors import HeadwayError

JSON = b"application/json"
OCTETS = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

encode = msgspec.json.Encoder().encode


def head(status: int, *, kind: bytes, date: bytes) -> bytes:
    """The head of an answer up to the value of Content-Length."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"%b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: " % (line, date, kind)


def error_body(error: HeadwayError | str) -> bytes:
    """The JSON of an error, on one line: what happened, where, and the mend."""
    if isinstance(error, HeadwayError):
        where = f" ({error.where})" if error.where else ""
        mend = f"; {error.mend}" if error.mend else ""
        error = f"{error.what}{where}{mend}"
    return encode({"error": error})
