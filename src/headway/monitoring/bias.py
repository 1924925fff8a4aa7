"""Bias gaps of a live release over time: each group of people against all others, with direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl
from msgspec.structs import replace

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.monitoring import BiasChange, GapDirection
from headway.core.variant import Signature
from headway.data.matrix import encode_slice
from headway.evaluation.context import Comparison
from headway.evaluation.metrics.bias import WHERE, signed_gaps
from headway.evaluation.statistics.intervals import MIN_GROUPS, period_change
from headway.registry.judge import Limit, compare_with_limit

MARGIN = 0.02
"""A gap that changed by at most this much is not reported: two of 100 people."""
_RATES = {
    "bias.tpr": "true positive rate",
    "bias.fpr": "false positive rate",
    "bias.selection": "selection rate",
    "bias.calibration": "share of positives beyond the prediction",
}


def people_columns(
    table: pl.DataFrame, names: Sequence[str], signature: Signature, *, logged: bool
) -> dict[str, SliceColumn]:
    """Return the declared sensitive columns of rows of the table, or of the log, which holds only the model's inputs.

    Raises NotApplicable if the log lacks one.
    """
    if not logged:
        return {name: encode_slice(table[name]) for name in names}
    inputs = {field.name: field for field in signature.inputs}
    absent = [name for name in names if name not in inputs]
    if absent:
        raise NotApplicable(
            f"the log holds the model's inputs only, and {', '.join(absent)} is none",
            where=WHERE,
            hint="headway watch --source table",
        )
    return {name: encode_slice(_logged_column(table[f"in.{name}"], inputs[name].categories)) for name in names}


def bias_changes(now: Comparison, judged: Comparison) -> tuple[BiasChange, ...]:
    """Return the gap of each group when the release was judged and in the period, for groups in both.

    Of two groups in a column the first is returned, since the gap of the other is the same with the opposite sign.
    """
    before = {(gap.name, gap.slice): gap for gap in signed_gaps(judged)}
    pairs = ((before.get((gap.name, gap.slice)), gap) for gap in _without_mirrored(signed_gaps(now)))
    return tuple(
        BiasChange(measure=gap.name, group=gap.slice, before=then, now=gap, change=period_change(gap, then))
        for then, gap in pairs
        if then is not None
    )


def judge_bias(changes: Iterable[BiasChange], *, alpha: float) -> tuple[BiasChange, ...]:
    """Return the changes with the direction of each that is shown, at a false-alarm rate that all of them share."""
    found = tuple(changes)
    return tuple(replace(one, direction=_direction(one, alpha / len(found))) for one in found)


def describe_gap(one: BiasChange) -> str:
    """Describe a gap and its direction: `the selection rate of sex=F is 9.0 points below that of the others, ...`."""
    low, high = sorted(abs(end) * 100 for end in (one.now.low, one.now.high))
    low = 0.0 if one.now.low <= 0 <= one.now.high else low
    rate = _RATES.get(one.measure, one.measure)
    return (
        f"the {rate} of {one.group} is {_points(one.now.value)} that of the others [{low:.1f}, {high:.1f}], "
        f"{_points(one.before.value)} it when it was judged"
    )


def _points(value: float) -> str:
    return f"{abs(value) * 100:.1f} points {'below' if value < 0 else 'above'}"


def _direction(one: BiasChange, alpha: float) -> GapDirection:
    for sign in (1, -1):
        limit = Limit(value=sign * MARGIN, sign=sign, alpha=alpha)
        if compare_with_limit(one.change, limit, fewest_groups=MIN_GROUPS).answer == "fail":
            if one.now.value * sign <= MARGIN:
                return "narrower"
            return "wider" if one.before.value * sign >= 0 else "reversed"
    return "not shown"


def _without_mirrored(gaps: Sequence[Measurement]) -> Iterator[Measurement]:
    """Yield the gaps, of a column with two groups only those of the first."""
    groups: dict[str, list[str]] = {}
    for gap in gaps:
        known = groups.setdefault(gap.slice.partition("=")[0], [])
        known += [gap.slice] if gap.slice not in known else []
    mirrored = {known[1] for known in groups.values() if len(known) == 2}
    yield from (gap for gap in gaps if gap.slice not in mirrored)


def _logged_column(column: pl.Series, categories: Sequence[str]) -> pl.Series:
    """Return a column of the log with its original categories; the log holds the rank of each."""
    if not categories:
        is_integer = (column.drop_nans() % 1 == 0).all()
        return column.fill_nan(None).cast(pl.Int64) if is_integer else column
    ranks = column.fill_nan(None).cast(pl.Int64)
    return ranks.replace_strict(dict(enumerate(categories)), default=None, return_dtype=pl.String)
