"""HTTP status lines and the JSON of errors; status codes live in this package alone."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from headway.core.errors import HeadwayError, StoreError
from headway.serving.batching.refusals import DeadlineExceeded, QueueFull

JSON = b"application/json"
OCTETS = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

encode = msgspec.json.Encoder().encode


_STATUS: dict[type[HeadwayError], int] = {
    StoreError: 503,
    QueueFull: 429,
    DeadlineExceeded: 504,
}


class RequestError(HeadwayError):
    """Why a request is not answered, its HTTP status, and when to ask again where that is known.

    Another way in than HTTP says it in its own terms.
    """

    def __init__(self, status: int, what: str, *, where: str = "", hint: str = "", retry_s: int = 0) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.retry_s = retry_s


def request_error(error: Exception) -> RequestError:
    """What a caller is told whose rows got no answer.

    The model refuses them, too many wait, their time has passed, a table is away, or there is a defect.
    """
    if isinstance(error, HeadwayError):
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 422)
        retry_s = error.retry_s if isinstance(error, QueueFull) else 0
        return RequestError(status, error.what, where=error.where, hint=error.hint, retry_s=retry_s)
    return RequestError(500, "the engine failed on these rows; the server's log says more")


def response_head(status: int, *, kind: bytes, date: bytes) -> bytes:
    """The head of an answer up to the value of Content-Length."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"%b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: " % (line, date, kind)


def error_body(error: HeadwayError | str) -> bytes:
    """The JSON of an error."""
    return encode({"error": error_message(error) if isinstance(error, HeadwayError) else error})


def error_message(error: HeadwayError) -> str:
    """An error on one line: what happened, where, and the mend."""
    where = f" ({error.where})" if error.where else ""
    hint = f"; {error.hint}" if error.hint else ""
    return f"{error.what}{where}{hint}"
