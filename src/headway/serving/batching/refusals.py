"""Why the plane gives a call no answer though nothing is broken: it came too many, too late, or with strange values."""

from __future__ import annotations

from headway.core.errors import HeadwayError


class QueueFull(HeadwayError):
    """More rows wait for a release than may; `retry_s` is when, at the rate that is measured, they will be done."""

    def __init__(self, what: str, *, retry_s: int) -> None:
        super().__init__(what, hint=f"ask again in {retry_s} s")
        self.retry_s = retry_s


class DeadlineExceeded(HeadwayError):
    """The time that the caller gave had passed before the rows could be asked; the model was not."""


class ContractViolation(HeadwayError):
    """A value is outside the contract of the release, whose policy is to refuse it."""
