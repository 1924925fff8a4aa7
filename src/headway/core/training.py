"""Training of a model and its learning curve, the result of a retraining, and the promotion of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Ticket
from headway.core.record import Record, StoredRecord
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.search_result import SearchResult
from headway.core.variant import Variant

CurveAnswer = Literal["flat", "learning", "memorises", "worsens", "undecided", "not drawn"]
PromotionStatus = Literal[
    "no proposal", "suggested", "not better", "rolling out", "live", "rolled back", "inconclusive"
]


class Training(StoredRecord, frozen=True, kw_only=True):
    """A model fitted on the labeled rows of [since, until), to be judged on those of [judged_since, judged_until).

    Times are ISO 8601. `dataset` is the digest of the training rows, `recipe` that of the training code. `seed` is None
    if the code got none. For a model that was fitted elsewhere on rows that are not in the data, `n_rows` and `seconds`
    are 0, [since, until) is empty and ends where its evaluation begins, and `dataset` is that of the evaluation.
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


class TrainingTask(Record, frozen=True, kw_only=True):
    """One training: its columns, its seed, and whether classes are balanced (None: as `[model] class_weight` says).

    With `half`, the model is trained on that half of the groups only (`data.split.half_of_groups`).
    """

    features: tuple[str, ...]
    seed: int | None = None
    balanced: bool | None = None
    half: int | None = None


class ShadowModel(StoredRecord, frozen=True, kw_only=True):
    """A model that was trained on a half of the groups, for an attack; a later audit with the same `key` reuses it.

    `key` is the digest of the training code, its settings, and the training rows with their groups.
    """

    version: ClassVar[int] = 1

    key: str
    task: TrainingTask
    model: Variant
    seconds: float


class Round(Record, frozen=True, kw_only=True):
    """One round: measures on held-out and on training rows, `seconds` after training began (None: not timed).

    `ahead` and `learned_ahead` are the error of this round minus that of the last, paired by group: above 0, training
    still improved the model.
    """

    number: int
    held_out: tuple[Measurement, ...]
    learned: tuple[Measurement, ...] = ()
    ahead: Measurement | None = None
    learned_ahead: Measurement | None = None
    seconds: float | None = None

    def error(self, name: str, *, learned: bool = False) -> Measurement | None:
        """Return the measure of that name, on held-out or on training rows, or None."""
        return next(
            (measurement for measurement in (self.learned if learned else self.held_out) if measurement.name == name),
            None,
        )


class Reading(Record, frozen=True, kw_only=True):
    """What the simultaneous 95 % intervals of a curve show.

    It holds from round `since` on; `low` and `high` bound the change of the error from there to the last round (above
    0: it grew). `why` is the reason for a missing answer.
    """

    answer: CurveAnswer
    since: int = 0
    low: float | None = None
    high: float | None = None
    why: str = ""


class LearningCurve(StoredRecord, frozen=True, kw_only=True):
    """The rounds of one training, oldest first, with digests of the held-out and training rows, and of the recipe.

    `error` names the measure that is read. `spent` is the time of the evaluations in seconds, which `seconds` excludes.
    """

    former_kinds: ClassVar[tuple[str, ...]] = ("learningcurve",)

    library: str
    error: str
    rounds: tuple[Round, ...]
    reading: Reading
    held_out: str
    learned: str = ""
    recipe: str = ""
    seconds: float
    spent: float


class Retraining(StoredRecord, frozen=True, kw_only=True):
    """A retrained or recalibrated release, judged against the live one; `seconds` is its total duration.

    `key` is the digest of all that decides the outcome, so that a run that was killed can resume. `release` is its
    digest after it is published. `findings` report changes in the data that live was trained on.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message", "frontier": "search_result"}

    name: str
    key: str
    live: str
    search_result: SearchResult
    ticket: Ticket | None = None
    trainings: int = 0
    seconds: float = 0.0
    message: str = ""
    release: str = ""
    findings: tuple[Finding, ...] = ()


class Promotion(Record, frozen=True, kw_only=True):
    """Progress of replacing a live release by a retrained one, with the last step in a sentence.

    `ticket` is set while there is only a proposal; `retraining` is the result, `rollout` is running or ended, and
    `update` made it live if that happened at once.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "stands": "status",
        "says": "message",
        "todo": "next_command",
        "move": "update",
    }

    status: PromotionStatus
    message: str
    next_command: str = ""
    ticket: Ticket | None = None
    retraining: Retraining | None = None
    rollout: Rollout | None = None
    update: PointerUpdate | None = None
