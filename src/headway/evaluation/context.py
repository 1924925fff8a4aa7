"""What a metric and an audit are, and the contexts that they work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from headway.core import plugins
from headway.core.calibrator import Calibrator
from headway.core.config import CostSection
from headway.core.contracts import Blobs, Engine, LabeledData, SliceColumn, no_training_rows
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.release import FeatureView
from headway.core.sections.attack import AttackSection
from headway.core.trial import Serve
from headway.core.variant import Variant
from headway.optimization.context import TransformContext

if TYPE_CHECKING:
    from headway.core.contracts import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A variant beside the model as it came, both opened, with their answers on the same labelled rows.

    `rows` float64 [n, d]; `labels` float64 [n]; `scores` and `reference_scores` float64 [n, k]; `groups` int64 [n] in
    0..G-1, rows of one group share fate; `threshold` turns a score into a decision (score >= threshold), and `costs`
    are those of a false alarm and of a miss. `weights` float64 [n] > 0 say how much each row counts, if not alike.
    `sensitive_features` are the slice columns whose values are groups of people. `unseen` bool [n] says which rows hold a text that
    the model never saw, which it may read as a missing value. `price` is that of the machine that answers. `query_ids`
    int64 [n] are those that a ranking puts in order.
    """

    variant: Variant
    model: Engine
    reference: Engine
    rows: Floats
    labels: Floats
    scores: Floats
    reference_scores: Floats
    groups: Ints
    slices: Mapping[str, SliceColumn]
    threshold: float
    costs: tuple[float, float] = (1.0, 1.0)
    weights: Floats | None = None
    sensitive_features: Mapping[str, SliceColumn] = field(default_factory=dict)
    unseen: Bools | None = None
    price: CostSection | None = None
    query_ids: Ints | None = None


MetricResults = Sequence[Measurement | NotApplicable]
"""What a probe or an audit measured; of what it could not, a NotApplicable that says why, with the mend."""


class Metric(Protocol):
    """From a subject, measurements; raises NotApplicable where the measure has no meaning for it."""

    def __call__(self, subject: Comparison) -> MetricResults:
        """Measurements, each with its interval or its count."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What an audit works with beside its subject: how long it may take, and what the model is made from.

    `learn` trains the model as it came anew on the columns named, with a seed, and gives it opened over those columns
    in their order; None where nobody knows how it is made, or it takes no seed. `weigh` trains it, with a seed, on all
    columns of the subject, and on classes that count alike if that is asked. `months` are those of the rows, where
    rows have a time. `together` are features that belong together: what is done to one is done to all. `origin` is the
    model as it came, and `bench` what transforms made the subject of it with, where that is known. `calibrator` and
    `views` are those of what is to be released. `serve` gives a server of a variant, None where nobody knows how it is
    served; it is asked `rate_per_s` times a second. `attack` says what of a row an attacker may change.
    """

    blobs: Blobs
    budget_s: float
    train: Callable[[], LabeledData | None] = no_training_rows
    learn: Callable[[Sequence[str], int], Engine] | None = None
    weigh: Callable[[bool, int], Engine] | None = None
    months: SliceColumn | None = None
    together: Sequence[Sequence[str]] = ()
    origin: Variant | None = None
    bench: Callable[[], TransformContext] | None = None
    calibrator: Calibrator = field(default_factory=Calibrator)
    views: Sequence[FeatureView] = ()
    serve: Serve | None = None
    rate_per_s: float = 200.0
    attack: AttackSection = field(default_factory=AttackSection)


class Audit(Protocol):
    """A probe that takes its time: asked of what is to be released, and not of every variant of a search."""

    def __call__(self, subject: Comparison, context: AuditContext) -> MetricResults:
        """Measurements, each with its interval or its count; raises NotApplicable where there can be none."""
        ...


def load_metric(name: str) -> Metric:
    """Return the metric of that name; raises PluginError if there is none or its library is absent."""
    metric: Metric = plugins.load("metric", name)
    return metric


def load_audit(name: str) -> Audit:
    """Return the audit of that name; raises PluginError if there is none or its library is absent."""
    audit: Audit = plugins.load("audit", name)
    return audit
