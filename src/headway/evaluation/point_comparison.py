"""Compare two models point by point: quality, calibration, flipped decisions with examples, slices, times of calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.comparison import CallTimes, ComparedModel, ExampleRow, Flips, PointComparison
from headway.core.contracts import Engine
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.label_sets import decide_labels
from headway.core.variant import DECIDES, MULTILABEL, Variant
from headway.core.verdict import PRIVACY
from headway.evaluation.benchmark import sample_calls
from headway.evaluation.comparison import EvaluationSet
from headway.evaluation.context import Comparison, EvaluatedRows
from headway.evaluation.machine_load import MachineBusy
from headway.evaluation.measure import measure
from headway.evaluation.quality.row_errors import decide_class, decision_churn
from headway.evaluation.statistics.subsets import subset_mean
from headway.evaluation.statistics.tables import build_blocks

METRICS = ("quality", "calibration", "decisions", "slices")
EXAMPLES = 20
TIMED = ("latency.", "throughput.", "cost.cpu_s.", "cost.per_million.", "cost.energy_j.")
_BINS_PER_DECADE = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedModel:
    """A model that answered the rows of a comparison: its scores (n, k), after its calibrator, and decisions (n,).

    `trained_on` is the digest of the rows that it learned from, if known.
    """

    name: str
    digest: str
    is_release: bool
    variant: Variant
    engine: Engine
    threshold: float
    scores: Floats
    decisions: Ints | None = None
    timings: Sequence[Measurement] = ()
    trained_on: str = ""

    @property
    def decided(self) -> Ints | None:
        """The class of each row, (n,), or its labels (n, k); None for a task without decisions for single rows."""
        if self.variant.task == MULTILABEL:
            return decide_labels(self.scores) if self.decisions is None else self.decisions
        if self.variant.task not in DECIDES:
            return None
        return decide_class(self.scores, self.threshold) if self.decisions is None else self.decisions


def compare_models(
    first: OpenedModel,
    second: OpenedModel,
    rows: EvaluationSet,
    *,
    n_examples: int = 0,
    seconds: float = 0.0,
) -> PointComparison:
    """Compare two models on the rows of an evaluation set.

    Parameters
    ----------
    n_examples : int
        Number of rows with another decision to return, those whose scores differ most first.
    seconds : float
        How long calls of one row are timed; not at all with 0.

    Raises
    ------
    DataError
        If the two answer different questions.
    """
    one, other = first.variant, second.variant
    if (one.task, one.signature.classes) != (other.task, other.signature.classes):
        raise DataError(
            f"{first.name} is a {one.task} model and {second.name} a {other.task} model of other classes",
            hint="compare two models of the same question",
        )
    subject, mirrored = _paired(first, second, rows), _paired(second, first, rows)
    metrics = (*METRICS, "bias") if rows.sensitive_features else METRICS
    of_first, of_second = (
        measure(pair, metrics, dataset_digest=rows.dataset, period=rows.period) for pair in (subject, mirrored)
    )
    differences = [found for found in of_first.measurements if found.name.endswith((".drop", "probability_shift"))]
    blocks = build_blocks(subject)
    return PointComparison(
        period=rows.period,
        task=one.task,
        n_rows=blocks.n_rows,
        n_groups=blocks.n_groups,
        first=_compared(first, of_first.measurements),
        second=_compared(second, of_second.measurements),
        differences=tuple(differences),
        flips=tuple(_flips(first, second, subject)),
        times=_time_calls(first, second, rows.rows, seconds) if seconds else CallTimes(),
        examples=tuple(_examples(first, second, rows, n_examples)),
        findings=tuple(found for found in of_first.findings if found.severity != "note" and found.code == "E001"),
    )


def _paired(one: OpenedModel, other: OpenedModel, rows: EvaluationSet) -> Comparison:
    """Return the comparison of a model with the other one in the place of the baseline."""
    shared = {field.name: getattr(rows, field.name) for field in fields(EvaluatedRows)}
    shared |= {
        "reference": other.engine,
        "reference_scores": other.scores,
        "reference_decisions": other.decided,
        "threshold": one.threshold,
        "findings": (),
    }
    return Comparison(variant=one.variant, model=one.engine, scores=one.scores, decisions=one.decided, **shared)


def _compared(model: OpenedModel, found: Sequence[Measurement]) -> ComparedModel:
    return ComparedModel(
        name=model.name,
        digest=model.digest,
        is_release=model.is_release,
        threshold=model.threshold,
        measurements=tuple(one for one in found if not one.name.endswith((".drop", "probability_shift"))),
        timings=tuple(one for one in model.timings if one.name.startswith((*TIMED, *PRIVACY)) and not one.slice),
    )


def _flips(first: OpenedModel, second: OpenedModel, subject: Comparison) -> Iterator[Flips]:
    """Yield the flips over all rows, and in each slice."""
    own, before = first.decided, second.decided
    if own is None or before is None:
        return
    turned = decision_churn(subject, build_blocks(subject))
    labels = subject.labels
    flipped, right, was_right = _differs(own, before), ~_differs(own, labels), ~_differs(before, labels)
    everywhere = np.ones(len(labels), dtype=np.bool_)
    inside: list[tuple[str, Bools]] = [("", everywhere)]
    for name, column in subject.slices.items():
        codes = np.unique(column.codes).tolist()
        inside += [(f"{name}={column.values[code]}", column.codes == code) for code in codes]
    for slice, rows in inside:
        some = flipped & rows
        share = subset_mean(turned, rows)
        yield Flips(
            slice=slice,
            n_rows=int(rows.sum()),
            n_flips=int(some.sum()),
            n_first_right=int((some & right).sum()),
            n_second_right=int((some & was_right).sum()),
            n_first_positive=int((some & (own == 1)).sum()) if first.variant.task == "binary" else 0,
            share=replace(share, slice=slice),
        )


def _differs(own: Ints, other: Ints | Floats) -> Bools:
    """Return whether the decisions of each row differ, in any of its labels if there are several, bool (n,)."""
    found: Bools = own != other
    return found if found.ndim == 1 else np.asarray(found.any(axis=1))


def _examples(first: OpenedModel, second: OpenedModel, rows: EvaluationSet, count: int) -> Iterator[ExampleRow]:
    """Yield rows with another decision, those whose scores differ most first; without decisions, any such rows."""
    changes = np.abs(first.scores - second.scores).max(axis=1)
    own, before = first.decided, second.decided
    if own is not None and before is not None:
        changes = np.where(_differs(own, before), changes, -1.0)
    largest = [at for at in np.argsort(-changes, kind="stable")[:count].tolist() if changes[at] > 0]
    labeled = rows.labeled
    names = [name for name in labeled.table.columns if name != labeled.roles.target]
    several = own is not None and own.ndim == 2
    for at in largest:
        moved = int(np.abs(first.scores[at] - second.scores[at]).argmax())  # the label that differs most
        values = labeled.table.row(at, named=True)
        yield ExampleRow(
            columns={name: _text(values[name]) for name in names},
            label=_text(values[labeled.roles.target]),
            first=float(first.scores[at, moved]) if several else _shown(first, at, own),
            second=float(second.scores[at, moved]) if several else _shown(second, at, before),
        )


def _shown(model: OpenedModel, at: int, decided: Ints | None) -> float:
    """Return the score of a row: the only one, or that of the class that was decided."""
    scores = model.scores[at]
    return float(scores[0] if decided is None or len(scores) == 1 else scores[decided[at]])


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time_calls(first: OpenedModel, second: OpenedModel, rows: Floats, seconds: float) -> CallTimes:
    found = sample_calls(first.engine, second.engine, rows, limit_s=seconds)
    if isinstance(found, MachineBusy):
        return CallTimes(busy=found.what)
    times = found.times_us
    low, high = np.log10(np.quantile(times, (0.0, 0.999)))
    steps = np.arange(math.floor(low * _BINS_PER_DECADE), math.ceil(high * _BINS_PER_DECADE) + 1)
    edges = np.power(10.0, steps / _BINS_PER_DECADE)
    counts = [np.histogram(np.clip(column, edges[0], edges[-1]), edges)[0].tolist() for column in times.T]
    return CallTimes(
        edges=tuple(edges.tolist()),
        first=tuple(counts[0]),
        second=tuple(counts[1]),
        measurements=tuple(found.measurements),
    )
