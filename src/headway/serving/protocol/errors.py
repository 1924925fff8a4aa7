"""Errors of requests: their HTTP status, their JSON body, and the first lines of a response."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from headway.core.errors import HeadwayError, StoreError
from headway.core.texts import TextForgotten

JSON = b"application/json"
OCTETS = b"application/octet-stream"
MAX_ERROR_CHARACTERS = 2_000  # of a message, which may quote the request; over gRPC it is sent in a header
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

encode = msgspec.json.Encoder().encode


class QueueFull(HeadwayError):
    """Too many rows wait for a model; `retry_s` is the estimated time until they are done."""

    def __init__(self, what: str, *, retry_s: int) -> None:
        super().__init__(what, hint=f"retry in {retry_s} s")
        self.retry_s = retry_s


class DeadlineExceeded(HeadwayError):
    """The deadline of a request passed while it waited; the model was not called."""


class ContractViolation(HeadwayError):
    """A value violates the contract of the release, and the server is configured to reject such requests."""


_STATUS: dict[type[HeadwayError], int] = {
    StoreError: 503,
    QueueFull: 429,
    DeadlineExceeded: 504,
    TextForgotten: 429,
}


class RequestError(HeadwayError):
    """Why a request is not answered: its HTTP status, and after how many seconds to retry (0: unknown).

    Other transports map the status to their own codes.
    """

    def __init__(self, status: int, what: str, *, where: str = "", hint: str = "", retry_s: int = 0) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.retry_s = retry_s


def request_error(error: Exception) -> RequestError:
    """Convert an error of the data plane to one with a status; any error that is not headway's own is a 500."""
    if isinstance(error, HeadwayError):
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 422)
        retry_s = error.retry_s if isinstance(error, QueueFull) else int(isinstance(error, TextForgotten))
        return RequestError(status, error.what, where=error.where, hint=error.hint, retry_s=retry_s)
    return RequestError(500, "the engine failed on these rows; see the log of the server")


def response_head(status: int, *, kind: bytes, date: bytes) -> bytes:
    """Return the head of a response up to the value of Content-Length."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return b"%b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: " % (line, date, kind)


def error_body(error: HeadwayError | str) -> bytes:
    """Encode an error as the JSON body of a response."""
    return encode({"error": error_message(error) if isinstance(error, HeadwayError) else error[:MAX_ERROR_CHARACTERS]})


def error_message(error: HeadwayError) -> str:
    """Format an error on one line: what happened, where, and the hint; a long one is cut off."""
    where = f" ({error.where})" if error.where else ""
    hint = f"; {error.hint}" if error.hint else ""
    return f"{error.what}{where}{hint}"[:MAX_ERROR_CHARACTERS]
