"""Training: a model fitted once, with what it learned from and what that took; and what came of a retraining."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.evidence import Finding
from headway.core.record import Record, StoredRecord
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.search_result import SearchResult
from headway.core.ticket import Ticket
from headway.core.variant import Variant

PromotionStatus = Literal[
    "nothing asked", "suggested", "not better", "rolling out", "live", "taken back", "inconclusive"
]


class Training(StoredRecord, frozen=True, kw_only=True):
    """A model fitted on the labelled rows of [since, until), to be judged on those of [judged_since, judged_until).

    Times are ISO 8601; `dataset` is the digest of the rows it learned from, `recipe` that of the code that fitted it.
    `seed` is None where the code was given none.
    """

    dataset: str
    recipe: str
    model: Variant
    since: str
    until: str
    judged_since: str
    judged_until: str
    n_rows: int
    seconds: float
    seed: int | None = None


class Retraining(StoredRecord, frozen=True, kw_only=True):
    """A release trained anew, or recalibrated, and judged against the live one; `seconds` is what it took in all.

    `key` is the digest of all that decides the outcome, so that a run that was killed is taken up where it stood;
    `release` is its digest once it is published. `findings` tell what changed of the data that live had learned from.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

    name: str
    key: str
    live: str
    frontier: SearchResult
    ticket: Ticket | None = None
    trainings: int = 0
    seconds: float = 0.0
    message: str = ""
    release: str = ""
    findings: tuple[Finding, ...] = ()


class Promotion(Record, frozen=True, kw_only=True):
    """Where a live release stands on its way to be replaced by one trained anew: what was done last, in a sentence.

    `todo` is the command that goes on from here. `ticket` only asks for it yet; `retraining` is what was trained,
    `rollout` is on its way or ended, and `move` made it live where it was to be so at once.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

    stands: PromotionStatus
    message: str
    todo: str = ""
    ticket: Ticket | None = None
    retraining: Retraining | None = None
    rollout: Rollout | None = None
    move: PointerUpdate | None = None
