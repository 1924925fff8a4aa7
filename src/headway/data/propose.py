"""Propose the role of each column of a table.

A user corrects it, because a table does not show when a column is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from headway.core.dataset import OUTCOME, Dataset, Roles
from headway.core.errors import ConfigError, DataError, NotApplicable
from headway.core.record import Record
from headway.data.context import CheckContext, load_check
from headway.data.roles import ENTITY_NAME, MAX_CLASSES

MIN_GROUPS = 20
MAX_SLICES = 3
SPLIT_SHARES = (0.6, 0.8)
"""Shares of the rows, in order of time, at which the train and the validation period end."""
SUSPECTS = ("missing_with_outcome", "target_leak")


class Proposal(Record, frozen=True, kw_only=True):
    """The proposed fields of `[data]` and `[split]`, for a user to correct.

    Attributes
    ----------
    outcome : dict of str to str
        Columns that look as if they were written after the outcome, with the finding on each.
    features : tuple of str
        Columns that are left for the model. It is not declared yet when they are known.
    categories : tuple of str
        The features that hold strings.
    classes : tuple of str
        Sorted classes of a multiclass target of strings; empty if they are numbers.
    n_classes : int
        Number of classes; 0 for a regression.
    """

    target: str
    task: str
    positive: str = ""
    time: str = ""
    groups: str = ""
    slices: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    outcome: dict[str, str] = {}
    features: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    n_classes: int = 0
    split: dict[str, tuple[str, str]] = {}

    @property
    def roles(self) -> Roles:
        """Return the roles that a project with these settings has."""
        return Roles(
            target=self.target,
            task=self.task,
            time=self.time,
            groups=self.groups,
            slices=self.slices,
            ignore=self.ignore,
            known=dict.fromkeys(self.outcome, OUTCOME),
        )


def propose_settings(table: pl.DataFrame, target: str) -> Proposal:
    """Return the proposed role of each column for predicting `target`.

    Raise ConfigError if the table has no column of this name, and DataError if it cannot be predicted.
    """
    if target not in table.columns:
        where = f"columns: {', '.join(table.columns)}"
        raise ConfigError(
            f"no column '{target}' to predict" if target else "no target is given", where=where, hint="--target COLUMN"
        )
    task, positive, n_classes = _task(table[target].drop_nulls())
    others = [column for column in table.iter_columns() if column.name != target]
    time = _time(others)
    groups = _groups(others)
    rest = [column for column in others if column.name not in (time, groups)]
    ignore = tuple(column.name for column in rest if not _is_feature(column))
    features = [column for column in rest if column.name not in ignore]
    roles = Roles(target=target, task=task, time=time, groups=groups, ignore=ignore)
    outcome = _suspects(table, roles, positive)
    usable = [column for column in features if column.name not in outcome]
    slices = tuple(column.name for column in usable if _is_slice(column))[:MAX_SLICES]
    return Proposal(
        target=target,
        task=task,
        positive=positive,
        time=time,
        groups=groups,
        slices=slices,
        ignore=ignore,
        outcome=outcome,
        features=tuple(column.name for column in usable),
        categories=tuple(column.name for column in usable if column.dtype == pl.String),
        classes=_classes(table[target]) if task == "multiclass" else (),
        n_classes=n_classes,
        split=_split(table[time]) if time else {},
    )


def _task(values: pl.Series) -> tuple[str, str, int]:
    """Return the task of a target, its positive class if that is not 1, and the number of classes."""
    counts = values.cast(pl.String).value_counts(sort=True)[values.name].to_list()
    if len(counts) < 2:
        raise DataError(f"'{values.name}' has {len(counts)} values: nothing to learn", hint="another --target")
    number = values.dtype.is_numeric()
    if (number and set(values.unique()) <= {0, 1}) or values.dtype == pl.Boolean:
        return "binary", "", 2
    if len(counts) == 2:
        return "binary", counts[1], 2
    integers = number and bool((values == values.floor()).all()) if values.dtype.is_float() else number
    if number and not (integers and len(counts) <= MAX_CLASSES and values.min() == 0):
        return "regression", "", 0
    if not number and len(counts) > MAX_CLASSES:
        raise DataError(f"'{values.name}' has {len(counts):,} different strings", hint="another --target")
    return "multiclass", "", len(counts)


def _classes(target: pl.Series) -> tuple[str, ...]:
    """Return the sorted classes of a target of strings."""
    return () if target.dtype.is_numeric() else tuple(target.drop_nulls().cast(pl.String).unique().sort())


def _time(columns: Sequence[pl.Series]) -> str:
    """Return the first complete column of times, else of dates."""
    kinds = (pl.Datetime, pl.Date)
    return next(
        (column.name for kind in kinds for column in columns if column.dtype == kind and _is_complete(column)), ""
    )


def _groups(columns: Sequence[pl.Series]) -> str:
    """Return a column of dates, else one that identifies an entity; rows with one value are dependent."""
    days = [column for column in columns if column.dtype == pl.Date]
    entities = [column for column in columns if ENTITY_NAME.search(column.name) and not column.dtype.is_float()]
    shared = (
        column.name
        for column in (*days, *entities)
        if _is_complete(column) and MIN_GROUPS <= column.n_unique() <= len(column) / 2
    )
    return next(shared, "")


def _is_feature(column: pl.Series) -> bool:
    """Return whether a column varies between rows and does not identify each row."""
    count = column.drop_nulls().n_unique()
    if count < 2 or not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)):
        return False
    is_identifier = count > len(column) / 2 and (
        column.dtype == pl.String or (column.dtype.is_integer() and count == len(column))
    )
    return not (is_identifier or (ENTITY_NAME.search(column.name) and column.dtype.is_integer()))


def _is_slice(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Boolean) and 2 <= column.n_unique() <= MAX_CLASSES


def _suspects(table: pl.DataFrame, roles: Roles, positive: str) -> dict[str, str]:
    """Return the columns that look as if they were written after the outcome, with the finding on each."""
    target = pl.col(roles.target)
    coded = (target.cast(pl.String) == positive).cast(pl.Int8) if positive else target
    dataset = Dataset(name="table", table=table.with_columns(coded), roles=roles)
    found: dict[str, str] = {}
    for name in SUSPECTS:
        try:
            findings = load_check(name)(CheckContext(dataset=dataset))
            found |= {
                finding.where.removeprefix("column "): f"{finding.code}: {finding.message}" for finding in findings
            }
        except NotApplicable:
            continue
    return found


def _split(time: pl.Series) -> dict[str, tuple[str, str]]:
    """Split by whole days: the first 60 % of the rows for training, 20 % for validation, the rest for testing."""
    days = time.cast(pl.Date).sort()
    edges = [days[0], *(days[int(len(days) * part)] for part in SPLIT_SHARES), days[-1] + timedelta(days=1)]
    if len(set(edges)) < len(edges):
        return {}
    dates = [edge.isoformat() for edge in edges if isinstance(edge, date)]
    return dict(zip(("train", "validation", "test"), itertools.pairwise(dates), strict=True))


def _is_complete(column: pl.Series) -> bool:
    return column.null_count() == 0
