"""HTTP status lines and the JSON of errors; status codes live in this package alone."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from headway.core.errors import HeadwayError, StoreError

JSON = b"application/json"
OCTETS = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

encode = msgspec.json.Encoder().encode


class Unanswered(HeadwayError):
    """Why a request is not answered, and its HTTP status; another way in than HTTP says it in its own terms."""

    def __init__(self, status: int, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.status = status


def unanswered(error: Exception) -> Unanswered:
    """What a caller is told whose rows got no answer: the model refuses them, a table is away, or a defect."""
    if isinstance(error, HeadwayError):
        status = 503 if isinstance(error, StoreError) else 422
        return Unanswered(status, error.what, where=error.where, mend=error.mend)
    return Unanswered(500, "the engine failed on these rows; the server's log says more")


def head(status: int, *, kind: bytes, date: bytes) -> bytes:
    """The head of an answer up to the value of Content-Length."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"%b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: " % (line, date, kind)


def error_body(error: HeadwayError | str) -> bytes:
    """The JSON of an error."""
    return encode({"error": in_words(error) if isinstance(error, HeadwayError) else error})


def in_words(error: HeadwayError) -> str:
    """An error on one line: what happened, where, and the mend."""
    where = f" ({error.where})" if error.where else ""
    mend = f"; {error.mend}" if error.mend else ""
    return f"{error.what}{where}{mend}"
