"""Tables from which the effect of a choice is computed at once: variant, threshold, costs, and what goes wrong.

Each measured variant answers the rows of `validation` as they are, with each feature missing, and the rows of single
months. Of its answers only counts by group, slice and bin of the score are kept: costs and rates at any of the
thresholds, with their intervals, are sums of them. For a number or one of several classes, sums of the errors are kept.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.contracts import SliceColumn
from headway.core.errors import StoreError
from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.student import student_quantile
from headway.core.variant import Variant
from headway.evaluation.context import Comparison
from headway.evaluation.quality.multiclass import class_answers
from headway.evaluation.statistics.intervals import (
    CHANGE,
    LEVEL,
    SHARE,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_error,
    jackknife_interval,
    period_difference,
    ratio_of_sums,
    t_interval,
)
from headway.evaluation.statistics.proportions import groups_share
from headway.evaluation.statistics.tables import block_fields, leave_one_out_mean, tally, weighted

FORMAT = 2
FOLDER = "explore"
USUAL = "usual"
MISSING, MONTH = "missing:", "month:"
MAX_ROWS, MAX_SLICES = 10_000, 24
_CENTRE = (0.02, 0.98)
_META, _ARRAY = "meta", ".npy"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class RowsCondition(Record, frozen=True, kw_only=True):
    """Rows that the variants answered: as they are (`usual`), without a feature (`missing:x`), or of a month.

    `slices` are the slices with counts, the largest first, and `slice_rows` their rows.
    """

    key: str
    n_rows: int
    n_groups: int
    slices: tuple[str, ...] = ()
    slice_rows: tuple[int, ...] = ()
    slice_groups: tuple[int, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether its rows are those of the usual condition, so that differences are paired."""
        return not self.key.startswith(MONTH)


class Form(Record, frozen=True, kw_only=True):
    """A variant that was measured, by what it is made of (`traits`), with its speed and cost.

    Its answers are those of the evaluated variant `answers`, itself or another form that keeps the answers.
    """

    digest: str
    name: str
    answers: str
    traits: dict[str, str]
    timings: tuple[Measurement, ...] = ()

    def find(self, name: str) -> Measurement | None:
        """Return the timing of that name, or None."""
        return next((one for one in self.timings if one.name == name), None)


ROW_ERRORS = {"regression": ("mae", (0.0, math.inf)), "multiclass": ("error_rate", SHARE)}
"""By task without a threshold: the mean error of a row that slices show, and its range."""
TRAITS = ("trees", "stage", "bits", "nodes", "engine")
"""What a form is made of; the first ones weigh most where a combination was not measured."""
ALL, NONE = "all", "none"


def traits_of(variant: Variant) -> dict[str, str]:
    """Return what a variant is made of: trees kept, student or cascade, bits, nodes kept, and engine with threads.

    Each has a value for the baseline, so that variants differ only in what their steps changed.
    """
    found = {"trees": ALL, "stage": NONE, "bits": ALL, "nodes": ALL}
    for step in variant.steps:
        if step.transform == "truncate":
            found["trees"] = str(step.settings["trees"])
        elif step.transform == "prune":
            found["nodes"] = f"{float(step.settings['nodes']):.0%}"
        elif step.transform in ("quantise", "nncf"):
            found["bits"] = "8"
        elif step.transform == "bfloat16" or (
            step.transform == "openvino" and step.settings.get("precision") == "bf16"
        ):
            found["bits"] = "16"
        elif step.transform in STAGES:
            found["stage"] = str(step)
    threads = variant.settings.get("threads", 1)
    return found | {"engine": variant.engine + (f", {threads} threads" if threads != 1 else "")}


STAGES = ("cascade", "distil", "family", "cache", "fipe", "pine", "recalibrate")


def nearest_form(forms: Sequence[Form], wanted: Mapping[str, str]) -> tuple[Form, bool]:
    """Return the measured form with these traits, or the nearest, and whether it has all of them.

    The nearest shares the most important traits, in the order of `TRAITS`; then its trees are closest.
    """

    def distance(form: Form) -> tuple[object, ...]:
        differs = [name for name in TRAITS if wanted.get(name, form.traits[name]) != form.traits[name]]
        gap = _trees_gap(wanted.get("trees", ALL), form.traits["trees"])
        return "stage" in differs, "bits" in differs, "nodes" in differs, gap, len(differs)

    best = min(forms, key=distance)
    return best, all(best.traits[name] == wanted.get(name, best.traits[name]) for name in TRAITS)


def _trees_gap(wanted: str, known: str) -> float:
    if wanted == known:
        return 0.0
    return abs(math.log(float(wanted) / float(known))) if ALL not in (wanted, known) else math.inf


class ExploreIndex(Record, frozen=True, kw_only=True):
    """What the tables of a search hold.

    `variants` are digests, the baseline first, and `forms` all that were measured, its own first. `refused` maps
    `variant/condition` to why a variant did not answer. `thresholds` is empty for a task without one.
    """

    search: str
    task: str
    threshold: float
    costs: tuple[float, float]
    thresholds: tuple[float, ...]
    variants: tuple[str, ...]
    forms: tuple[Form, ...]
    conditions: tuple[RowsCondition, ...]
    refused: dict[str, str] = {}
    format: int = FORMAT


class SliceOutcome(Record, frozen=True, kw_only=True):
    """Cost and calibration of a slice: with the choice, and the difference from the model as it is.

    For a task without a threshold, `cost` is the mean error of a row (`ROW_ERRORS`).
    """

    slice: str
    n_rows: int
    n_groups: int
    cost: Measurement | None = None
    difference: Measurement | None = None
    bias: Measurement | None = None


class CurvePoint(Record, frozen=True, kw_only=True):
    """The cost of a decision with a threshold, with the ends of its interval."""

    threshold: float
    value: float
    low: float
    high: float


class Outcome(Record, frozen=True, kw_only=True):
    """What a choice does on the rows of a condition.

    `measured` are measures over all rows, `differences` those from the model as it is on the usual rows, by name;
    `curve` is the cost by threshold, and `reliability` the bins of the calibration curve with their mean prediction.
    """

    condition: RowsCondition
    threshold: float
    measured: dict[str, Measurement]
    differences: dict[str, Measurement] = {}
    slices: tuple[SliceOutcome, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    reliability: tuple[tuple[float, Measurement], ...] = ()


Measure = Callable[[Comparison], Sequence[Measurement]]


def tables_file(state: Path, search: str) -> Path:
    """Return the file of the tables of a search (its digest): a cache next to the state, which may be deleted."""
    return state / FOLDER / f"{search.removeprefix('sha256:')}.{FORMAT}.npz"


def stored_tables(state: Path) -> list[Path]:
    """Return the files of the tables of all searches, and what a write that was interrupted left of one."""
    return sorted(path for path in (state / FOLDER).glob("*") if path.is_file())


def grid(threshold: float, scores: Floats) -> tuple[float, ...]:
    """Return the thresholds to count at: every hundredth, or quantiles of the scores if classes are rare.

    >>> grid(0.305, np.array([0.1, 0.9]))[29:32]
    (0.3, 0.305, 0.31)
    """
    if _CENTRE[0] <= threshold <= _CENTRE[1]:
        edges = [round(step / 100, 2) for step in range(1, 100)]
    else:
        edges = np.quantile(scores, np.linspace(0.01, 0.99, 99)).tolist()
    return tuple(sorted({*edges, threshold}))


def write_tables(
    path: Path,
    index: ExploreIndex,
    answers: Iterator[tuple[str, str, Comparison]],
    measure: Measure,
    *,
    refused: Mapping[str, str],
    write: Callable[[Path, bytes], object],
) -> ExploreIndex:
    """Write the tables of a search: for each variant and condition, its counts and measures.

    Parameters
    ----------
    answers : iterator of (variant, condition, comparison)
        The answers of each variant to the rows of each condition.
    measure : callable
        Measures a comparison.
    refused : mapping of str to str
        Why a variant did not answer, once `answers` has ended.
    write : callable
        Writes the bytes of a file at once.
    """
    arrays: dict[str, Any] = {}
    conditions = {one.key: one for one in index.conditions}
    for variant, condition, subject in answers:
        name = f"{variant}/{condition}"
        if index.thresholds:
            arrays |= _counted(name, subject, index.thresholds, conditions[condition])
        if index.task in ROW_ERRORS and conditions[condition].slices:
            arrays[f"{name}/errors"] = _summed(subject, conditions[condition])
        arrays[f"{name}/measured"] = _as_bytes(tuple(measure(subject)))
    index = replace(index, refused=dict(refused))
    arrays[_META] = _as_bytes(index)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write(path, content.getvalue())
    return index


def describe_rows(key: str, subject: Comparison) -> RowsCondition:
    """Return a condition with the rows, groups and largest slices of a comparison."""
    blocks = block_fields(subject.groups, subject.weights)
    found = []
    for name, column in subject.slices.items():
        counts = tally(column.codes, len(column.values))
        pairs = np.unique(column.codes * blocks["n_groups"] + blocks["groups"]) // blocks["n_groups"]
        groups = tally(pairs, len(column.values))
        found += [
            (int(counts[code]), int(groups[code]), f"{name}={column.values[code]}")
            for code in np.flatnonzero(counts).tolist()
        ]
    found.sort(key=lambda one: (-one[0], one[2]))
    largest = found[:MAX_SLICES]
    return RowsCondition(
        key=key,
        n_rows=len(subject.labels),
        n_groups=blocks["n_groups"],
        slices=tuple(name for _, _, name in largest),
        slice_rows=tuple(rows for rows, _, _ in largest),
        slice_groups=tuple(groups for _, groups, _ in largest),
    )


def _counted(key: str, subject: Comparison, thresholds: Sequence[float], condition: RowsCondition) -> dict[str, Any]:
    """Count positives and negatives by block and bin of the score: over all rows, and in each slice."""
    edges = np.array(thresholds)
    blocks = block_fields(subject.groups, subject.weights)
    bins, n_blocks = len(edges) + 1, blocks["n_blocks"]
    cells = (subject.labels.astype(np.int64) * n_blocks + blocks["blocks"]) * bins
    cells += np.searchsorted(edges, subject.scores[:, 0], side="right")
    shape, size = (2, n_blocks, bins), 2 * n_blocks * bins
    inside = [_inside(subject.slices, name) for name in condition.slices]
    parts = [
        tally(cells[rows], size, weighted(None, subject.weights[rows] if subject.weights is not None else None))
        for rows in inside
    ]
    counts = tally(cells, size, subject.weights).reshape(shape).astype(np.float32)
    found: dict[str, Any] = {f"{key}/counts": counts}
    if parts:
        found[f"{key}/slices"] = np.stack(parts).reshape(len(parts), *shape).astype(np.float32)
    return found


def _summed(subject: Comparison, condition: RowsCondition) -> Floats:
    """Return rows, errors and, for a number, observed minus predicted, as sums by slice and block."""
    blocks = block_fields(subject.groups, subject.weights)
    rows = np.ones(len(subject.labels))
    if subject.variant.task == "regression":
        residuals = subject.labels - subject.scores[:, 0]
        values = [rows, np.abs(residuals), residuals]
    else:
        answers = class_answers(subject)
        values = [rows, (answers.decided != answers.labels).astype(np.float64)]
    found = []
    for name in condition.slices:
        inside = _inside(subject.slices, name)
        weights = subject.weights[inside] if subject.weights is not None else None
        where = blocks["blocks"][inside]
        found.append([tally(where, blocks["n_blocks"], weighted(value[inside], weights)) for value in values])
    return np.array(found)


def _inside(slices: Mapping[str, SliceColumn], name: str) -> Any:
    column, _, value = name.partition("=")
    found = slices[column]
    return found.codes == list(found.values).index(value)


def _as_bytes(value: object) -> Any:
    return np.frombuffer(msgspec.json.encode(value), dtype=np.uint8)


class ExploreTables:
    """The tables of a search in a file, of which a choice reads only what it needs; the file stays open.

    Raises StoreError for a file that is damaged, also when a damaged table of it is read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._tables = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise self._damaged() from error
        self._names = frozenset(name.removesuffix(_ARRAY) for name in self._tables.namelist())
        self.index: ExploreIndex = self._record(_META, ExploreIndex)

    def _array(self, name: str) -> Any:
        try:
            with self._tables.open(f"{name}{_ARRAY}") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except _DAMAGED as error:
            raise self._damaged() from error

    def _record(self, name: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(self._array(name).tobytes(), type=kind)
        except msgspec.MsgspecError as error:
            raise self._damaged() from error

    def _damaged(self) -> StoreError:
        what, hint = "the tables of this search cannot be read", "delete the file; it is made again"
        return StoreError(what, where=str(self._path), hint=hint)

    def condition(self, key: str) -> RowsCondition | None:
        """Return the condition of that key, or None."""
        return next((one for one in self.index.conditions if one.key == key), None)

    def outcome(self, variant: str, condition: str, threshold: float, costs: tuple[float, float]) -> Outcome | None:
        """Return what a variant does on the rows of a condition, against the baseline on the usual rows.

        The baseline has its own threshold; `threshold` is one of the index, and ignored by a task without. None if this
        was not measured.
        """
        known = self.condition(condition)
        name = f"{variant}/{condition}"
        if known is None or f"{name}/measured" not in self._names:
            return None
        found: tuple[Measurement, ...] = self._record(f"{name}/measured", tuple[Measurement, ...])
        measured = {one.name: one for one in found if not one.slice}
        bias = {one.slice: one for one in found if one.name == "calibration.bias" and one.slice}
        base = f"{self.index.variants[0]}/{USUAL}"
        of_base: tuple[Measurement, ...] = self._record(f"{base}/measured", tuple[Measurement, ...])
        was = {one.name: one for one in of_base if not one.slice}
        differences = _paired(measured, was) if known.paired else _unpaired(measured, was)
        if not self.index.thresholds:
            slices = tuple(self._errors(variant, known))
            return Outcome(
                condition=known, threshold=threshold, measured=measured, differences=differences, slices=slices
            )
        usual = self.index.conditions[0]
        own = _Decisions(self._array(f"{name}/counts"), self._at(threshold), costs)
        before = _Decisions(self._array(f"{base}/counts"), self._at(self.index.threshold), costs)
        decided = own.measurements(known)
        differences |= own.minus(before, known) if known.paired else _unpaired(decided, before.measurements(usual))
        return Outcome(
            condition=known,
            threshold=threshold,
            measured=measured | decided,
            differences=differences,
            slices=tuple(self._slices(variant, known, threshold, costs, bias)),
            curve=own.curve(self.index.thresholds, known),
            reliability=_reliability(found),
        )

    def measured(
        self, variant: str, condition: str, threshold: float, costs: tuple[float, float]
    ) -> dict[str, Measurement]:
        """Return the measures of a variant over all rows of a condition; empty if it was not measured."""
        known, name = self.condition(condition), f"{variant}/{condition}"
        if known is None or f"{name}/measured" not in self._names:
            return {}
        found: tuple[Measurement, ...] = self._record(f"{name}/measured", tuple[Measurement, ...])
        measured = {one.name: one for one in found if not one.slice}
        if self.index.thresholds:
            decisions = _Decisions(self._array(f"{name}/counts"), self._at(threshold), costs)
            measured |= decisions.measurements(known)
        return measured

    def nearest_threshold(self, wanted: float) -> float:
        """Return the threshold at which was counted that is nearest to this one."""
        known: tuple[float, ...] = self.index.thresholds
        return min(known, key=lambda one: abs(one - wanted), default=wanted)

    def _at(self, threshold: float) -> int:
        return self.index.thresholds.index(threshold)

    def _errors(self, variant: str, known: RowsCondition) -> Iterator[SliceOutcome]:
        """Yield the mean error of a row of each slice, paired with that of the baseline on the same rows."""
        name = f"{variant}/{known.key}/errors"
        if name not in self._names:
            return
        sums, base = self._array(name), f"{self.index.variants[0]}/{USUAL}/errors"
        before = self._array(base) if known.paired and base in self._names else None
        measure, bounds = ROW_ERRORS[self.index.task]
        for at, label in enumerate(known.slices):
            part = replace(known, n_rows=known.slice_rows[at], n_groups=known.slice_groups[at])
            rows, errors, *residuals = sums[at]
            yield SliceOutcome(
                slice=label,
                n_rows=part.n_rows,
                n_groups=part.n_groups,
                cost=_ratio(measure, errors, rows, part, bounds),
                difference=_ratio(measure, errors - before[at][1], rows, part, (-bounds[1], bounds[1]))
                if before is not None
                else None,
                bias=_ratio("calibration.bias", residuals[0], rows, part, UNBOUNDED) if residuals else None,
            )

    def _slices(
        self,
        variant: str,
        known: RowsCondition,
        threshold: float,
        costs: tuple[float, float],
        bias: Mapping[str, Measurement],
    ) -> Iterator[SliceOutcome]:
        name = f"{variant}/{known.key}/slices"
        if name not in self._names:
            return
        counts, base = self._array(name), f"{self.index.variants[0]}/{USUAL}/slices"
        before = self._array(base) if known.paired and base in self._names else None
        for at, label in enumerate(known.slices):
            part = replace(known, n_rows=known.slice_rows[at], n_groups=known.slice_groups[at])
            own = _Decisions(counts[at], self._at(threshold), costs)
            usual = self.index.conditions[0].slices
            was = (
                _Decisions(before[usual.index(label)], self._at(self.index.threshold), costs)
                if before is not None and label in usual
                else None
            )
            yield SliceOutcome(
                slice=label,
                n_rows=part.n_rows,
                n_groups=part.n_groups,
                cost=own.cost(part),
                difference=own.cost_minus(was, part) if was else None,
                bias=bias.get(label),
            )


class _Decisions:
    """Decisions at a threshold, as sums by block, from counts (2, blocks, bins) of negatives and positives."""

    def __init__(self, counts: Any, at: int, costs: tuple[float, float]) -> None:
        self._counts = counts.astype(np.float64)
        self._false_positive, self._false_negative = costs
        negatives, positives = self._counts
        self._alarms, self._rest = negatives[:, at + 1 :].sum(1), negatives[:, : at + 1].sum(1)
        self._hits, self._misses = positives[:, at + 1 :].sum(1), positives[:, : at + 1].sum(1)
        self._rows = self._counts.sum((0, 2))

    @property
    def _costs(self) -> Floats:
        found: Floats = self._false_positive * self._alarms + self._false_negative * self._misses
        return found

    @property
    def _max_cost(self) -> float:
        return max(self._false_positive, self._false_negative)

    def cost(self, condition: RowsCondition) -> Measurement:
        """Return the mean cost of a row."""
        return _ratio("cost", self._costs, self._rows, condition, (0.0, self._max_cost))

    def cost_minus(self, other: _Decisions, condition: RowsCondition) -> Measurement:
        """Return the mean cost of a row minus that of other decisions on the same rows."""
        bounds = (-self._max_cost, self._max_cost)
        return _ratio("cost", self._costs - other._costs, self._rows, condition, bounds)

    @property
    def _rates(self) -> dict[str, tuple[Floats, Floats]]:
        """The parts of each rate: what is counted, and among what, by block."""
        return {
            "accuracy": (self._hits + self._rest, self._rows),
            "recall": (self._hits, self._hits + self._misses),
            "precision": (self._hits, self._hits + self._alarms),
            "false_positive_rate": (self._alarms, self._alarms + self._rest),
            "decided_positive": (self._hits + self._alarms, self._rows),
        }

    def measurements(self, condition: RowsCondition) -> dict[str, Measurement]:
        """Return cost and rates of the decisions; a rate over no rows is left out."""
        rates = self._rates.items()
        return {"cost": self.cost(condition)} | {
            name: _rate(name, part, among, condition) for name, (part, among) in rates if among.any()
        }

    def minus(self, other: _Decisions, condition: RowsCondition) -> dict[str, Measurement]:
        """Return cost and rates minus those of other decisions on the same rows, paired by group."""
        found = {"cost": self.cost_minus(other, condition)}
        sample = Sample(n_rows=condition.n_rows, n_groups=condition.n_groups, bounds=CHANGE)
        before = other._rates
        for name, (part, among) in self._rates.items():
            was, of = before[name]
            if among.any() and of.any():
                value = float(part.sum() / among.sum() - was.sum() / of.sum())
                without = leave_one_out_mean(part, among) - leave_one_out_mean(was, of)
                found[name] = jackknife_interval(name, value, without, sample)
        return found

    def curve(self, thresholds: Sequence[float], condition: RowsCondition) -> tuple[CurvePoint, ...]:
        """Return the cost of a row at each threshold, each with its own interval."""
        negatives, positives = self._counts
        alarms = negatives.sum(1, keepdims=True) - np.cumsum(negatives, 1)[:, :-1]
        misses = np.cumsum(positives, 1)[:, :-1]
        costs = self._false_positive * alarms + self._false_negative * misses
        values = costs.sum(0) / self._rows.sum()
        without = (costs.sum(0) - costs) / (self._rows.sum() - self._rows)[:, None]
        half = _half_width(condition.n_groups) * jackknife_error(np.ascontiguousarray(without.T))
        return tuple(
            CurvePoint(threshold=at, value=value, low=max(value - reach, 0.0), high=value + reach)
            for at, value, reach in zip(thresholds, values.tolist(), half.tolist(), strict=True)
        )


def _half_width(n_groups: int) -> float:
    return student_quantile(0.5 + LEVEL / 2, n_groups - 1) if n_groups > 3 else 0.0


def _rate(name: str, hits: Floats, among: Floats, condition: RowsCondition) -> Measurement:
    """Return a share of the rows counted in `among`, by block, with its interval by group."""
    sample = Sample(n_rows=round(float(among.sum())), n_groups=min(int((among > 0).sum()), condition.n_groups))
    return replace(groups_share(name, hits, among, sample), n_rows=condition.n_rows)


def _ratio(
    name: str, part: Floats, among: Floats, condition: RowsCondition, bounds: tuple[float, float]
) -> Measurement:
    """Return a ratio of sums by block, with its interval by group."""
    some = among > 0
    estimate = ratio_of_sums(part[None], among[None])[0]
    sample = Sample(n_rows=condition.n_rows, n_groups=min(int(some.sum()), condition.n_groups), bounds=bounds)
    if some.all():
        return jackknife_interval(name, estimate.value, leave_one_out_mean(part, among), sample)
    return t_interval(name, estimate, sample)


def _paired(now: Mapping[str, Measurement], before: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Return the differences from the baseline on the usual rows, which a measure's drop holds with either sign."""
    found = {}
    for name, one in now.items():
        drop, other = now.get(f"{name}.drop"), before.get(name)
        if drop is not None and other is not None:
            change = one.value - other.value
            same = abs(change - drop.value) <= abs(change + drop.value)
            found[name] = replace(drop, name=name) if same else _negated(drop, name)
    return found


def _negated(one: Measurement, name: str) -> Measurement:
    return replace(one, name=name, value=-one.value, low=-one.high, high=-one.low)


def _unpaired(now: Mapping[str, Measurement], before: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Return the differences of measures on other rows: those of a month are independent of the usual ones."""
    found = {}
    for name, one in now.items():
        other = before.get(name)
        if other is None or one.se is None or other.se is None or one.bounds is None:
            continue
        change = period_difference(_estimate(one), _estimate(other))
        reach = one.bounds[1] - one.bounds[0]
        sample = Sample(n_rows=one.n_rows, n_groups=one.n_groups, bounds=(-reach, reach))
        found[name] = t_interval(name, change, sample)
    return found


def _estimate(one: Measurement) -> Estimate:
    return Estimate(value=one.value, se=one.se or 0.0, dof=one.dof or 0.0, method=one.method)


def _reliability(found: Sequence[Measurement]) -> tuple[tuple[float, Measurement], ...]:
    predicted = {one.slice: one.value for one in found if one.name == "reliability.predicted"}
    curve = [(predicted[one.slice], one) for one in found if one.name == "reliability" and one.slice in predicted]
    return tuple(sorted(curve, key=lambda point: point[0]))
