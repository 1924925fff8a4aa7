"""Baseline and search result: the original model, and every variant of it that was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from headway.core.calibrator import Calibrator
from headway.core.evidence import Finding, Measurement, current_variant_name
from headway.core.feature_view import FeatureView
from headway.core.provenance import TrainingDigests
from headway.core.record import FormerValues, StoredRecord
from headway.core.release import Contract, SelfTest
from headway.core.selective import AnswerPlan
from headway.core.variant import ThresholdRule, Variant
from headway.core.verdict import Answer, EvaluatedVariant


class Baseline(StoredRecord, frozen=True, kw_only=True):
    """The original model with its decision threshold; `data` maps each period to the digest of its rows.

    A score of at least `threshold` is positive. It was chosen by `costs`, those of a false positive and of a false
    negative, if `threshold_rule` is `costs`; with `library` it is the decision rule of the model's own `predict`. A
    retrained release keeps the `views` of the live one, and a recalibrated one has its `calibrator`. `contract` gives
    the ranges of the columns in the periods that it was made on, and `findings` are those of its import. `training` has
    the digests of what it was trained with; empty if it was trained elsewhere, or by an earlier headway.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"data": {"choose": "validation"}}

    model: Variant
    threshold: float = 0.5
    threshold_rule: ThresholdRule = "costs"
    costs: tuple[float, float] = (1.0, 1.0)
    data: dict[str, str] = {}
    calibrator: Calibrator = Calibrator()
    views: tuple[FeatureView, ...] = ()
    contract: Contract = Contract()
    findings: tuple[Finding, ...] = ()
    training: TrainingDigests = TrainingDigests()


BUDGET_FACTOR = 3
"""The suggested next budget is this many times the last one."""
TRANSFORM_SHARE = 0.5
"""Share of the time left in which the variants of a batch are made."""


class SearchResult(StoredRecord, frozen=True, kw_only=True):
    """Result of a search: variants evaluated on `validation`, and the winner evaluated on `test`.

    Variants in `screened_out` were only screened: they could not win by their speed, or the time was up.
    `reasons` maps the name of every other variant to why it lost; `self_test` holds rows with the winner's answers.
    The search took `seconds` of `budget_s` (0: no limit); `n_left_out` counts the transforms and variants that were
    left out for lack of time. `answers` says which rows the winner answers alone; None: all.
    """

    former_kinds: ClassVar[tuple[str, ...]] = ("frontier",)
    former_names: ClassVar[Mapping[str, str]] = {"judged": "evaluated", "left": "screened_out"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {"reasons": current_variant_name}

    name: str
    baseline: Baseline
    evaluated: tuple[EvaluatedVariant, ...]
    winner: EvaluatedVariant
    screened_out: tuple[EvaluatedVariant, ...] = ()
    reasons: dict[str, str] = {}
    refusals: tuple[Finding, ...] = ()
    self_test: SelfTest = SelfTest(rows=(), answers=())
    at: str = ""
    budget_s: float = 0.0
    seconds: float = 0.0
    n_left_out: int = 0
    answers: AnswerPlan | None = None

    @property
    def improved(self) -> bool:
        """Whether the winner is another variant than the baseline."""
        return bool(self.winner.variant.steps)

    @property
    def suggested_budget_s(self) -> float:
        """A longer budget that may find a faster variant, in seconds; 0 if it would not try more than this search.

        A transform that was left out names the seconds that it is expected to take, and those that were left for it.
        """
        longer_s = BUDGET_FACTOR * self.budget_s
        added_s = TRANSFORM_SHARE * (longer_s - self.budget_s)
        times = [(finding.measured, finding.limit) for finding in self.refusals]
        too_slow = sum(
            needed_s is not None and remaining_s is not None and needed_s > remaining_s + added_s
            for needed_s, remaining_s in times
        )
        return longer_s if self.n_left_out > too_slow else 0.0

    @property
    def evaluated_baseline(self) -> EvaluatedVariant:
        """The baseline, among the variants evaluated on `validation`."""
        return next(row for row in self.evaluated if not row.variant.steps)

    def row(self, digest: str) -> EvaluatedVariant | None:
        """Return the variant of that digest, as evaluated on `validation`, or None."""
        return next((row for row in self.evaluated if row.variant.digest == digest), None)

    def measured(self, name: str) -> Measurement | None:
        """Return a measurement of the winner: of speed as measured by the search, else on `test`."""
        searched = self.row(self.winner.variant.digest)
        known = [searched.evidence] if searched else []
        return next((found for evidence in (*known, self.winner.evidence) if (found := evidence.find(name))), None)


class SearchSummary(StoredRecord, frozen=True, kw_only=True):
    """What a list shows of a search result, which is saved next to it so that no list reads the results.

    `search` is the digest of the result, `at` when its search ended. With `is_evaluation` the result is that of an
    earlier search, whose winner was evaluated again. `winner` is the name of the winner's variant and `answer` its
    verdict; `speedup` is the ratio to the baseline's time, or to its CPU time if the machine was busy.
    """

    name: str
    search: str
    at: str
    winner: str
    answer: Answer
    improved: bool
    speedup: Measurement | None = None
    n_evaluated: int = 0
    n_screened_out: int = 0
    n_left_out: int = 0
    seconds: float = 0.0
    budget_s: float = 0.0
    is_evaluation: bool = False
