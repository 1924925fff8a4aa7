"""Release: what is shipped as one unit, and the updates of the pointers that say what is live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.calibrator import Calibrator
from headway.core.errors import PointerMoved
from headway.core.evidence import Evidence
from headway.core.feature_view import FeatureView
from headway.core.provenance import TrainingDigests
from headway.core.record import FormerValues, Record, StoredRecord
from headway.core.selective import AnswerPlan
from headway.core.variant import ThresholdRule, Variant
from headway.core.verdict import Verdict

VERSION_DIGITS = 12
"""Hexadecimal digits of the digest of a release that its version is made of."""


class SelfTest(Record, frozen=True, kw_only=True):
    """Rows with the answers they had when the release was made; a server checks them before it takes traffic.

    None stands for a missing value, and for an answer that is NaN. `texts` has the texts of each column of texts, by
    name; rows have their index.
    """

    rows: tuple[tuple[float | None, ...], ...]
    answers: tuple[tuple[float | None, ...], ...]
    tolerance: float = 1e-6
    texts: dict[str, tuple[str | None, ...]] = {}


class Bounds(Record, frozen=True, kw_only=True):
    """Range of one column: the range of its numbers, or its categories.

    It also has the share of missing values, if these are allowed.
    """

    name: str
    lowest: float | None = None
    highest: float | None = None
    categories: tuple[str, ...] = ()
    missing: float = 0.0
    may_miss: bool = True


class Contract(StoredRecord, frozen=True, kw_only=True):
    """Ranges of a model's columns in the `n_rows` that it was made on; without columns nothing is checked.

    A number is valid up to `margin` times the range beyond the observed values.
    """

    columns: tuple[Bounds, ...] = ()
    margin: float = 0.1
    n_rows: int = 0


class Release(StoredRecord, frozen=True, kw_only=True):
    """A variant with its evidence, verdict, feature views, calibrator and threshold: immutable, and signed as one.

    `threshold_rule` says whether the threshold follows the model's own `predict`, or was chosen by costs. `files` maps
    each file of the release folder to its digest; `data` names the digests it was trained and judged on. `baseline` is
    the digest of the fitted model that the variant is a form of, and `training` has those of what it was trained with;
    both are empty if an earlier headway made it. `answers` says which rows it answers alone; None: all.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"data": {"choose": "validation"}}

    version: ClassVar[int] = 3

    name: str
    variant: Variant
    evidence: tuple[Evidence, ...]
    verdict: Verdict
    baseline: str = ""
    threshold: float = 0.5
    threshold_rule: ThresholdRule = "costs"
    calibrator: Calibrator = Calibrator()
    contract: Contract = Contract()
    views: tuple[FeatureView, ...] = ()
    data: dict[str, str] = {}
    files: dict[str, str] = {}
    self_test: SelfTest = SelfTest(rows=(), answers=())
    answers: AnswerPlan | None = None
    training: TrainingDigests = TrainingDigests()
    made_at: str = ""
    made_by: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of a classifier, in the order of its answers; their numbers if it has none."""
        n_outputs = len(self.self_test.answers[0]) if self.self_test.answers else 1
        return self.variant.signature.classes or tuple(str(index) for index in range(max(n_outputs, 2)))


class TrafficAssignment(Record, frozen=True, kw_only=True):
    """The keys that a canary answers: a share in [0, 1) by salt, at a stage of its rollout, from 0.

    `terms` is the digest of what the rollout was started with.
    """

    share: Annotated[float, Meta(ge=0, lt=1)]
    salt: str
    stage: int
    terms: str


class PointerUpdate(StoredRecord, frozen=True, kw_only=True):
    """One update of a pointer (`live`, `canary`, ...): numbered, chained to the update before it, and signed.

    `number` counts the updates of this name and pointer from 1. `previous` is the digest of the update before it in the
    store's chain, over all names. `verdict` is the digest of the verdict it followed, empty for a rollback by hand;
    `answer` is that verdict's, `override` if a person gave it. An empty `release` withdraws the pointer. `assignment`
    is set for a `canary`, so that servers assign keys by what is signed.
    """

    former_kinds: ClassVar[tuple[str, ...]] = ("move",)
    former_names: ClassVar[Mapping[str, str]] = {"deal": "assignment"}

    name: str
    pointer: str
    number: int
    release: str
    previous: str
    at: str
    who: str
    why: str
    verdict: str = ""
    answer: str = ""
    assignment: TrafficAssignment | None = None

    def expect_after(self, last: PointerUpdate | None) -> None:
        """Raise PointerMoved unless this update follows the last one of its pointer."""
        if self.number == (last.number if last else 0) + 1:
            return
        current = f"is at {last.release} by update {last.number} ({last.who}: {last.why})" if last else "was never set"
        raise PointerMoved(
            f"{self.name}@{self.pointer} {current}, so update {self.number} does not follow",
            where=last.at if last else "",
            hint="check headway history, then repeat the update if it is still right",
        )


def version_of(digest: str) -> str:
    """Return the version of a release: the first 12 hexadecimal digits of its digest as a decimal number.

    Triton's perf_analyzer reads no other versions.

    >>> version_of("sha256:00000000001f" + 52 * "0")
    '31'
    """
    return str(int(digest.removeprefix("sha256:")[:VERSION_DIGITS], 16))
