"""Approval: a person's decision on a release or a stage of a rollout, signed with the operator's key."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Literal

from headway.core.record import StoredRecord
from headway.core.verdict import Answer

VALID = timedelta(hours=24)
"""An approval expires after this time."""
ApprovalStep = Literal["search", "retraining", "published", "stage"]
"""What waits: the winner of the last search, a retraining, a published release, or the next stage of a rollout."""


class Approval(StoredRecord, frozen=True, kw_only=True):
    """A person's yes or no to one step, with digests of all that it rests on.

    Attributes
    ----------
    subject : str
        Digest of the release, or of the candidate: the result of a search.
    evidence, policy, live : str
        Digests of the evidence that was shown, of the rules, and of the live release; the latter is empty if nothing is
        live. For a stage, `policy` is that of the rollout's terms.
    live_update, canary_update : int
        Numbers of the last updates of both pointers, so that an approval counts once.
    answer : str
        The judge's answer that was shown; an approval of anything but a pass is an override.
    """

    version: ClassVar[int] = 1

    name: str
    step: ApprovalStep
    approved: bool
    subject: str
    evidence: str
    policy: str
    live: str
    live_update: int
    answer: Answer
    who: str
    why: str
    at: str
    canary_update: int = 0
    stage: int = -1

    @property
    def override(self) -> bool:
        """Whether a person approved what the judge did not pass."""
        return self.approved and self.answer != "pass"

    def is_expired(self, now: datetime) -> bool:
        """Return whether it is older than `VALID`, or says that it was made later than now (with its zone)."""
        age = now - datetime.fromisoformat(self.at).astimezone()
        return not timedelta(minutes=-1) <= age < VALID


class SignedApproval(StoredRecord, frozen=True, kw_only=True):
    """The signed bytes of an approval, and the signature."""

    version: ClassVar[int] = 1

    content: str
    signature: str


class ApprovalOutcome(StoredRecord, frozen=True, kw_only=True):
    """What became of an approval (its digest) on the publisher's machine; nothing is decided by it."""

    version: ClassVar[int] = 1

    approval: str
    at: str
    completed: bool
    message: str
