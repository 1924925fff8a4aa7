"""Baseline and frontier: the model as it came, and every variant of it that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from headway.core.calibrator import Calibrator
from headway.core.evidence import Finding
from headway.core.record import FormerValues, StoredRecord
from headway.core.release import Contract, FeatureView, SelfTest
from headway.core.variant import Variant
from headway.core.verdict import EvaluatedVariant


class Baseline(StoredRecord, frozen=True, kw_only=True):
    """The model as it came, with its decision threshold; `data` maps each period to the digest of its rows.

    `costs` are those of a false alarm and of a miss, by which the threshold was chosen.
    A release trained anew keeps the `views` of the live one, and a recalibrated one has its `calibrator`. `contract`
    says what the columns were in the periods that it was made on.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"data": {"choose": "validation"}}

    model: Variant
    threshold: float = 0.5
    costs: tuple[float, float] = (1.0, 1.0)
    data: dict[str, str] = {}
    calibrator: Calibrator = Calibrator()
    views: tuple[FeatureView, ...] = ()
    contract: Contract = Contract()


class SearchResult(StoredRecord, frozen=True, kw_only=True):
    """What a search found: variants judged on the `validation` period, and the winner judged on `test`.

    Variants of `left` had a first look alone: their speed was measured, and they could not win or the time was used up.
    `reasons` says of every other variant, by its name, why it lost; `self_test` holds rows with the winner's answers.
    """

    former_kinds: ClassVar[tuple[str, ...]] = ("frontier",)

    name: str
    baseline: Baseline
    judged: tuple[EvaluatedVariant, ...]
    winner: EvaluatedVariant
    left: tuple[EvaluatedVariant, ...] = ()
    reasons: dict[str, str] = {}
    refusals: tuple[Finding, ...] = ()
    self_test: SelfTest = SelfTest(rows=(), answers=())
    at: str = ""

    @property
    def origin(self) -> EvaluatedVariant:
        """The model as it came, among the variants judged on `validation`."""
        return next(row for row in self.judged if not row.variant.steps)

    def row(self, digest: str) -> EvaluatedVariant | None:
        """The variant of that digest, as judged on `validation`."""
        return next((row for row in self.judged if row.variant.digest == digest), None)
