"""What a metric and an audit are, and the contexts that they work with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from headway.core import plugins
from headway.core.calibrator import Calibrator
from headway.core.contracts import Blobs, Engine, LabeledData, Serve, SliceColumn, no_training_rows
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding, Measurement
from headway.core.feature_view import FeatureView
from headway.core.training import TrainingTask
from headway.core.variant import Field, Variant
from headway.engines.formats.columns import ColumnSelection
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.settings.cost import CostSection

if TYPE_CHECKING:
    from headway.core.contracts import Bools, Floats, Ints
    from headway.data.contract.table_contract import TableContract
    from headway.evaluation.benchmark import TimedBaseline
    from headway.optimization.context import TransformContext
    from headway.optimization.training import TrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabeledRows:
    """Rows of the same period without a known outcome, (m, d), with the answers of the baseline, (m, k).

    Whether a decision changed is known of them too. `groups`, int64 of shape (n + m,), are those of the labeled rows,
    then of these; `weights` are their own.
    """

    rows: Floats
    groups: Ints
    reference_scores: Floats
    reference_decisions: Ints | None = None
    weights: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRows:
    """Labeled rows with the answers of the opened baseline.

    Attributes
    ----------
    rows
        float64 of shape (n, d).
    labels
        float64 of shape (n,).
    reference, reference_scores
        The baseline, and its answers, float64 of shape (n, k).
    groups
        int64 of shape (n,), in 0..G-1; rows of one group are dependent.
    threshold
        A score of at least this value is a decision for the positive class.
    reference_decisions
        Classes that the library of the baseline predicts, int64 of shape (n,), where it decides by more than the
        scores; None where the threshold, or the largest score, decides.
    costs
        Costs of a false positive and of a false negative.
    weights
        float64 of shape (n,), > 0; None if all rows count the same.
    sensitive_features
        Slice columns whose values are groups of people.
    unseen
        bool of shape (n,): rows with a category that the model never saw and may read as missing.
    price
        Cost of the serving machine.
    query_ids
        int64 of shape (n,): the lists that a ranking puts in order.
    floor
        Other labeled rows, on which the floor of a release is fitted; None to fit it on halves of these rows.
    findings
        What was found when the model was imported.
    timing_s
        Longest time of one measurement of speed, in seconds: a slow model is timed in fewer rounds.
    timed
        Returns the baseline on its best number of threads, to time the variant against; None: `reference` as it is.
    unlabeled
        Rows of the period without a label, if there are any.
    """

    reference: Engine
    rows: Floats
    labels: Floats
    reference_scores: Floats
    groups: Ints
    slices: Mapping[str, SliceColumn]
    threshold: float
    reference_decisions: Ints | None = None
    costs: tuple[float, float] = (1.0, 1.0)
    weights: Floats | None = None
    sensitive_features: Mapping[str, SliceColumn] = field(default_factory=dict)
    unseen: Bools | None = None
    price: CostSection | None = None
    query_ids: Ints | None = None
    floor: FloorRows | None = None
    findings: Sequence[Finding] = ()
    timing_s: float = math.inf
    timed: Callable[[], TimedBaseline] | None = None
    unlabeled: UnlabeledRows | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(EvaluatedRows):
    """A variant compared with the baseline on the same labeled rows.

    Attributes
    ----------
    model
        The variant, opened.
    scores
        Its answers, float64 of shape (n, k).
    decisions
        Classes that its library predicts, as `reference_decisions`.
    inputs
        The columns of `rows`; empty if they are the inputs of the variant. A variant may read fewer than the baseline:
        `model` then selects them.
    keeps_decisions
        Whether it is proved that no row is decided otherwise than by the reference.
    keeps_answers
        Whether it is the reference, or made of it by steps that all declare to keep its answers.
    without_labels
        The comparison on the rows of `unlabeled`, whose labels are NaN.
    """

    variant: Variant
    model: Engine
    scores: Floats
    decisions: Ints | None = None
    inputs: tuple[Field, ...] = ()
    keeps_decisions: bool = False
    keeps_answers: bool = False
    without_labels: Comparison | None = None

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns of `rows`."""
        return self.inputs or self.variant.signature.inputs

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of `rows`."""
        return tuple(field.name for field in self.fields)

    def select(self, rows: Floats) -> Floats:
        """Return the columns that the variant reads, of rows with these columns."""
        return self.model.select(rows) if type(self.model) is ColumnSelection else rows


class FloorRows:
    """Labeled rows on which the floor of a release is fitted, read and fitted when they are first used.

    Parameters
    ----------
    validation : callable
        Returns the rows for the constant prediction and for the scale of a model's scores.
    train : callable
        Returns the rows for the reference model, or None: then it is fitted on those of validation.
    fit : callable
        Fits the reference model to labeled rows with this many classes (0 for numbers), and returns its `predict`.
    """

    def __init__(
        self,
        *,
        validation: Callable[[], LabeledData],
        train: Callable[[], LabeledData | None],
        fit: Callable[[LabeledData, int], Callable[[Floats], Floats]],
    ) -> None:
        self._validation, self._train, self._fit = validation, train, fit
        self._reference: Callable[[Floats], Floats] | None = None

    @cached_property
    def validation(self) -> LabeledData:
        """Rows for the constant prediction."""
        return self._validation()

    def reference(self, n_classes: int) -> Callable[[Floats], Floats]:
        """Return `predict` of the reference model, fitted once."""
        if self._reference is None:
            self._reference = self._fit(self._train() or self.validation, n_classes)
        return self._reference


Retrain = Callable[[Sequence[TrainingTask], Callable[[], bool]], Iterator[tuple[int, Engine]]]
"""Retrains the baseline for each task, and yields the number of the task with the model, opened over its columns.

The second argument is called before each training, and none begins after it returned False.
"""

RetrainVariants = Callable[[Sequence[TrainingTask], Callable[[], bool]], Iterator[tuple[int, "TrainedModel"]]]
"""As Retrain, with the trained models themselves: transforms can be repeated on them."""

MetricResults = Sequence[Measurement | NotApplicable]
"""Results of a metric or an audit; a NotApplicable gives the reason and a hint for what it could not measure."""


class Metric(Protocol):
    """Measure a variant against its baseline."""

    def __call__(self, subject: Comparison) -> MetricResults:
        """Return measurements, each with its interval or its count.

        Raises
        ------
        NotApplicable
            If the metric has no meaning for this comparison.
        """
        ...


SHADOW_MODELS, REGISTERED_MODELS = 64, 24
"""Largest number of shadow models of an audit, and the number with which an attack counts as run in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What an audit works with besides its comparison: a time budget, and how the model is made.

    Attributes
    ----------
    retrain, retrain_variants
        Retrain the baseline; None if that is not possible.
    months
        Months of the rows, if rows have a time.
    feature_groups
        Features that are changed together.
    baseline
        The baseline, if known.
    transform_context
        Builds the context that transforms made the variant with, if known.
    calibrator, views
        Those of what is to be released.
    serve
        Starts a server of a variant; it gets `rate_per_s` requests per second.
    attack
        What an attacker may change in a row.
    contract
        Contract of the project's tables, if it has one.
    paraphrases
        Tables of phrases with others that mean the same, by their name.
    row_s
        Seconds that both models take for a row, if they were measured before: an audit then sizes its work by them and
        ends it, so that it does the same on another machine.
    key_per_s
        Requests per second that `[serve] key_per_s` allows a key; 0: no limit.
    knows_training
        Whether the model is known to be made by the training that `retrain` repeats. Where it is known to be made by
        another, `retrain` raises NotApplicable.
    halves
        Halves of the groups of `train` (`data.split.half_of_groups`) that shadow models are trained on, in
        complementary pairs.
    """

    blobs: Blobs
    budget_s: float
    train: Callable[[], LabeledData | None] = no_training_rows
    retrain: Retrain | None = None
    retrain_variants: RetrainVariants | None = None
    months: SliceColumn | None = None
    feature_groups: Sequence[Sequence[str]] = ()
    baseline: Variant | None = None
    transform_context: Callable[[], TransformContext] | None = None
    calibrator: Calibrator = field(default_factory=Calibrator)
    views: Sequence[FeatureView] = ()
    serve: Serve | None = None
    rate_per_s: float = 200.0
    attack: AttackSection = field(default_factory=AttackSection)
    contract: TableContract | None = None
    paraphrases: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    row_s: float = 0.0
    key_per_s: float = 0.0
    knows_training: bool = True
    halves: Sequence[int] = range(SHADOW_MODELS)

    @property
    def training_caveats(self) -> list[NotApplicable]:
        """What an audit that retrains says if it is not known whether that gives such a model."""
        if self.knows_training or self.retrain is None:
            return []
        return [
            NotApplicable(
                "it is not known whether the training function makes this model: what it was trained with was not "
                "recorded, as for a model file, or by an earlier headway",
                where="[model] train",
                hint="train and search again: headway optimize",
            )
        ]

    def until(self) -> float:
        """Return when the budget of an audit that begins now ends, by the monotonic clock; infinite with `row_s`."""
        return math.inf if self.row_s else monotonic() + self.budget_s


class Audit(Protocol):
    """A metric that takes long: computed for what is to be released, not for every variant of a search.

    Its module may declare three literals: RETRAINS = True if it calls `context.retrain`, and SHARED = True if it reads
    the subject and, of the context, `months`, `feature_groups`, `attack` and its budget alone, and repeats exactly with
    `row_s`: a worker may then run it. ON_REQUEST holds beginnings of the names of its measures, for an audit that takes
    long: it runs if `[evaluate] audits` or the command names it, or a rule of `[[policy.release]]` such a measure.
    """

    def __call__(self, subject: Comparison, context: AuditContext) -> MetricResults:
        """Return measurements, each with its interval or its count.

        Raises
        ------
        NotApplicable
            If there can be none.
        """
        ...


def run_metric(name: str, subject: Comparison) -> MetricResults | NotApplicable:
    """Run a metric; return why it has no results if it has none."""
    return plugins.run_plugin("metric", name, lambda metric: _checked(metric(subject)))


def run_audit(name: str, subject: Comparison, context: AuditContext) -> MetricResults | NotApplicable:
    """Run an audit; return why it has no results if it has none."""
    return plugins.run_plugin("audit", name, lambda audit: _checked(audit(subject, context)))


def _checked(results: MetricResults) -> MetricResults:
    """Return results, each read, with a reason in the place of a value that is not finite; raise for anything else."""
    return [result if isinstance(result, NotApplicable) else _finite(result) for result in results]


def _finite(result: Measurement) -> Measurement | NotApplicable:
    if all(math.isfinite(number) for number in (result.value, result.low, result.high)):
        return result
    values = f"{result.value:g}, interval {result.low:g} to {result.high:g}"
    return NotApplicable(f"{result.name} is not finite: {values}", where=result.slice)


def load_metric(name: str) -> Metric:
    """Return the metric of that name; raises PluginError if there is none or its library is absent."""
    metric: Metric = plugins.load("metric", name)
    return metric


def load_audit(name: str) -> Audit:
    """Return the audit of that name; raises PluginError if there is none or its library is absent."""
    audit: Audit = plugins.load("audit", name)
    return audit
