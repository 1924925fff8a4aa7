"""D003: A single column predicts the target too well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.matrix import is_number_or_string
from headway.data.roles import known_line

CODES = ("D003",)
LIMIT = 0.85
EXPLAINED = {"binary": 0.6, "multiclass": 0.97, "regression": 0.97, "ranking": 0.97}
MAX_CLASSES = 50
BINS = 256
ROWS_PER_VALUE = 2
MAX_SPAN, HUNDREDTHS, PROBED_ROWS = 65_536, 100, 1_000
_VALUE = "__value"


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per feature with a ROC AUC above 0.85 in either direction, or that explains most of the target.

    Explained is the share of the target's variance between the values of the column, corrected for their number.
    It covers strings and unordered numbers. The limit is 0.6 for two classes, and 0.97 for more classes or for
    the ranks of a number: petal width explains 0.93 of the iris species.
    """
    dataset = context.dataset
    limit = EXPLAINED.get(dataset.roles.task, 1.0)
    found: list[Finding] = []
    for name, skill in single_column_skills(dataset, dataset.features).items():
        if skill.auc is not None and skill.auc > LIMIT:
            found.append(_finding(dataset, name, f"reaches a ROC AUC of {skill.auc:.3f}", (skill.auc, LIMIT)))
        elif skill.explained is not None and skill.explained > limit:
            share = f"explains {skill.explained:.1%} of '{dataset.roles.target}'"
            found.append(_finding(dataset, name, share, (skill.explained, limit)))
    return found


def _finding(dataset: Dataset, column: str, does: str, measured: tuple[float, float]) -> Finding:
    rows = len(dataset.table) - dataset.table[dataset.roles.target].null_count()
    return Finding(
        code="D003",
        severity="warn" if column in dataset.roles.known else "stop",
        message=f"'{column}' alone {does} on {rows:,} rows: it may contain the outcome",
        where=f"column {column}",
        measured=measured[0],
        limit=measured[1],
        hint=f'{known_line(column, "outcome")}, or "request" if it is legitimate (then this is a warning)',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumns:
    """The target as numeric columns: 0 and 1 per class, or ranks in [0, 1] of a number; no missing values."""

    columns: pl.DataFrame
    binary: bool

    @property
    def squares(self) -> float:
        """Total sum of squares about the mean, over all columns."""
        values = self.columns.to_numpy()
        return float((values.var(axis=0) * len(values)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSkill:
    """`auc`, in [0.5, 1], of a number for two classes, and `explained`, the share of the target's variance.

    `explained` is adjusted for the number of values (Ezekiel 1930); None if values hardly ever repeat.
    """

    auc: float | None
    explained: float | None


def target_columns(target: pl.Series, task: str) -> TargetColumns:
    """Encode the outcomes; raise NotApplicable if no single column could predict them."""
    if task == "embedding":
        raise NotApplicable(f"the skill of a single column is not defined for task '{task}'")
    classes = target.unique().sort().to_list() if task in ("binary", "multiclass") else []
    if target.n_unique() < 2:
        raise NotApplicable(f"the target has one {'class' if classes else 'value'} only")
    if len(classes) > MAX_CLASSES:
        raise NotApplicable(f"the target has more than {MAX_CLASSES} classes")
    if not classes:
        return TargetColumns(columns=pl.DataFrame({"y0": target.rank("average") / len(target)}), binary=False)
    shown = classes[1:] if len(classes) == 2 else classes
    one_hot = {f"y{index}": (target == value).cast(pl.Float64) for index, value in enumerate(shown)}
    return TargetColumns(columns=pl.DataFrame(one_hot), binary=task == "binary" and len(classes) == 2)


def single_column_skills(dataset: Dataset, names: Sequence[str]) -> dict[str, ColumnSkill]:
    """Compute the skill of each column over the rows with an outcome; other types are skipped.

    Missing is a value of its own and ranks lowest.
    """
    known = dataset.table.filter(pl.col(dataset.roles.target).is_not_null())
    outcomes = target_columns(known[dataset.roles.target], dataset.roles.task)
    read = [name for name in names if is_number_or_string(known.schema[name])]
    return {name: column_skill(known[name], outcomes) for name in read}


def column_skill(column: pl.Series, outcomes: TargetColumns) -> ColumnSkill:
    """Compute the skill of a column for the outcomes of the same rows."""
    values = column.fill_nan(None) if column.dtype.is_float() else column
    by_value = _sum_by_value(values, outcomes)
    auc = _auc(by_value) if outcomes.binary and _is_ordered(column.dtype) else None
    if len(by_value) * ROWS_PER_VALUE > len(values) and _is_ordered(column.dtype):
        by_value = _sum_by_value((values.rank("ordinal") - 1) * BINS // len(values), outcomes)
    if len(by_value) * ROWS_PER_VALUE > len(values):
        return ColumnSkill(auc=auc, explained=None)
    return ColumnSkill(auc=auc, explained=_explained(by_value, outcomes, len(values)))


def _is_ordered(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _sum_by_value(column: pl.Series, outcomes: TargetColumns) -> pl.DataFrame:
    """Sum the outcomes per value, missing first."""
    codes = _integer_codes(column)
    if codes is not None:
        return _sum_by_code(codes, outcomes)
    table = outcomes.columns.with_columns(column.alias(_VALUE))
    return table.group_by(_VALUE).agg(pl.len(), pl.col(outcomes.columns.columns).sum()).sort(_VALUE, nulls_last=False)


def _integer_codes(column: pl.Series) -> Ints | None:
    """Return integers, or hundredths, as codes from 1, 0 for missing; None for other numbers or a wide range."""
    if not column.dtype.is_numeric() or not column.count():
        return None
    unit = HUNDREDTHS if column.dtype.is_float() else 1
    low, high = column.min(), column.max()
    if not (isinstance(low, int | float) and isinstance(high, int | float) and (high - low) * unit < MAX_SPAN):
        return None
    if unit == 1:
        return (column.cast(pl.Int64) - (int(low) - 1)).fill_null(0).to_numpy()
    values: Floats = column.fill_null(float("nan")).to_numpy()
    if not _are_hundredths(values[:PROBED_ROWS]) or not _are_hundredths(values):
        return None
    found: Floats = np.nan_to_num(np.rint(values * unit) - (round(low * unit) - 1))
    return found.astype(np.int64)


def _are_hundredths(values: Floats) -> bool:
    return bool(((np.rint(values * HUNDREDTHS) / HUNDREDTHS == values) | np.isnan(values)).all())


def _sum_by_code(codes: Ints, outcomes: TargetColumns) -> pl.DataFrame:
    """Sum the outcomes per code, three times as fast as per value."""
    counts = np.bincount(codes)
    columns = zip(outcomes.columns.columns, outcomes.columns, strict=True)
    sums = {name: np.bincount(codes, column.to_numpy()) for name, column in columns}
    return pl.DataFrame({_VALUE: np.arange(len(counts)), "len": counts, **sums}).filter(pl.col("len") > 0)


def _auc(by_value: pl.DataFrame) -> float:
    """Compute ROC AUC by mid-ranks (Mann and Whitney 1947), in the better direction."""
    ones = by_value["y0"].to_numpy()
    zeros = by_value["len"].to_numpy() - ones
    before = np.cumsum(zeros) - zeros
    auc = float((ones * (before + zeros / 2)).sum() / (ones.sum() * zeros.sum()))
    return max(auc, 1 - auc)


def _explained(by_value: pl.DataFrame, outcomes: TargetColumns, rows: int) -> float:
    counts: Floats = by_value["len"].to_numpy().astype(np.float64)
    sums = by_value.select(outcomes.columns.columns).to_numpy()
    total = outcomes.squares
    between = float((np.square(sums) / counts[:, None]).sum() - (np.square(sums.sum(axis=0)) / rows).sum())
    return 1 - (total - between) / (rows - len(counts)) * (rows - 1) / total
