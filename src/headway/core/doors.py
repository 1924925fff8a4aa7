"""What a way in to a server beside HTTP must be, and what takes its traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Door(Protocol):
    """A way in to a server beside HTTP, open from when it is made: `inside` is what it answers from."""

    address: str

    def __init__(self, inside: Any, host: str, port: int) -> None:
        """Listen, at port 0 on a free one; raises ConfigError where the address cannot be had."""
        ...

    def close(self, within_s: float) -> None:
        """Take no more, answer what is in flight, and end; what takes longer than `within_s` is cut off."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was answered, and where its time went, ns: the parts are 0 where no engine was called.

    `at_ns` is when it had come, since 1970; `key` is the name of an API key; `traceparent` is the caller's header.
    """

    what: str
    model: str
    id: str
    key: str
    status: int
    at_ns: int
    took_ns: int
    queue_ns: int
    engine_ns: int
    traceparent: str


class Tracer(Protocol):
    """Where the traces of a server go: made with an address, or with an empty one for its library's own setting."""

    def __init__(self, to: str) -> None:
        """Connects to nothing yet."""
        ...

    def keep(self, asked: Asked) -> None:
        """Take a request that was drawn, without waiting and without an error."""
        ...

    def close(self) -> None:
        """Send what was taken."""
        ...
