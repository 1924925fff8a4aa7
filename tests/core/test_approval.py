"""An approval is an override where the judge did not pass, and it expires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from headway.core.approval import VALID, Approval

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
APPROVAL = Approval(
    name="m",
    step="search",
    approved=True,
    subject="sha256:0",
    evidence="sha256:1",
    policy="sha256:2",
    live="",
    live_update=0,
    answer="pass",
    who="ann",
    why="it is well",
    at=AT.isoformat(),
)


def test_an_approval_of_what_did_not_pass_is_an_override() -> None:
    undecided = replace(APPROVAL, answer="undecided")
    assert [one.override for one in (APPROVAL, undecided, replace(undecided, approved=False))] == [False, True, False]


@pytest.mark.parametrize(
    ("age", "expired"),
    [(timedelta(0), False), (VALID, True), (VALID - timedelta(seconds=1), False), (timedelta(minutes=-2), True)],
)
def test_an_approval_expires_after_its_time_or_if_it_was_made_in_the_future(age: timedelta, expired: bool) -> None:
    assert APPROVAL.is_expired(AT + age) is expired
