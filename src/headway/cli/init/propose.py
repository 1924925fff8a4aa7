"""Propose the role of each column of a table; a person corrects it, because no table tells what is known when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl
from msgspec.structs import replace

from headway.api.in_memory_project import default_policy
from headway.core.dataset import OUTCOME, Dataset, Roles
from headway.core.errors import ConfigError, DataError, NotApplicable
from headway.core.record import Record
from headway.data.context import CheckContext, load_check
from headway.data.roles import ENTITY_NAME, MAX_CLASSES

FEWEST_GROUPS = 20
MOST_SLICES = 3
PARTS = (0.6, 0.8)
"""Where, in order of time, the rows to train on end, and those to choose by."""
SUSPECTS = ("missing_with_outcome", "target_leak")


class Proposal(Record, frozen=True, kw_only=True):
    """The fields of `[data]` and `[split]` as they are proposed; `outcome` says of a column why it is suspected.

    A target of classes has `numbers` of them, and where they are texts these are `classes`; `features` are the columns
    that are left for the model, of which nobody said yet when they are known; `limits` are what is asked of a variant.
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
    texts: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    numbers: int = 0
    split: dict[str, tuple[str, str]] = {}
    limits: dict[str, float] = {}


def propose_settings(table: pl.DataFrame, target: str) -> Proposal:
    """Return the proposed role of each column for predicting `target`.

    Raise ConfigError if there is no such column, and DataError if it cannot be predicted.
    """
    if target not in table.columns:
        where = f"columns: {', '.join(table.columns)}"
        raise ConfigError(
            f"no column '{target}' to predict" if target else "no target is given", where=where, hint="--target COLUMN"
        )
    task, positive, numbers = _task(table[target].drop_nulls())
    others = [column for column in table.iter_columns() if column.name != target]
    time = _time(others)
    groups = _groups(others)
    rest = [column for column in others if column.name not in (time, groups)]
    ignore = tuple(column.name for column in rest if not _is_feature(column))
    features = [column for column in rest if column.name not in ignore]
    roles = Roles(target=target, task=task, time=time, groups=groups, ignore=ignore)
    outcome = _suspects(table, roles, positive)
    kept = [column for column in features if column.name not in outcome]
    slices = tuple(column.name for column in kept if _is_slice(column))[:MOST_SLICES]
    return Proposal(
        target=target,
        task=task,
        positive=positive,
        time=time,
        groups=groups,
        slices=slices,
        ignore=ignore,
        outcome=outcome,
        features=tuple(column.name for column in kept),
        texts=tuple(column.name for column in kept if column.dtype == pl.String),
        classes=_classes(table[target]) if task == "multiclass" else (),
        numbers=numbers,
        split=_split(table[time]) if time else {},
        limits=default_policy(
            replace(roles, slices=slices, known=dict.fromkeys(outcome, OUTCOME)), table, judged=1 - max(PARTS)
        ),
    )


def _task(values: pl.Series) -> tuple[str, str, int]:
    """Return the task of a target, its positive class if that is not 1, and the number of classes."""
    counts = values.cast(pl.String).value_counts(sort=True)[values.name].to_list()
    if len(counts) < 2:
        raise DataError(
            f"'{values.name}' has {len(counts)} values: nothing can be learned of it", hint="another --target"
        )
    number = values.dtype.is_numeric()
    if (number and set(values.unique()) <= {0, 1}) or values.dtype == pl.Boolean:
        return "binary", "", 2
    if len(counts) == 2:
        return "binary", counts[1], 2
    whole = number and bool((values == values.floor()).all()) if values.dtype.is_float() else number
    if number and not (whole and len(counts) <= MAX_CLASSES and values.min() == 0):
        return "regression", "", 0
    if not number and len(counts) > MAX_CLASSES:
        raise DataError(f"'{values.name}' has {len(counts):,} different texts", hint="another --target")
    return "multiclass", "", len(counts)


def _classes(target: pl.Series) -> tuple[str, ...]:
    """Return the sorted classes of a target of strings."""
    return () if target.dtype.is_numeric() else tuple(target.drop_nulls().cast(pl.String).unique().sort())


def _time(columns: Sequence[pl.Series]) -> str:
    """Return the first complete column of times, else of dates."""
    kinds = (pl.Datetime, pl.Date)
    return next((column.name for kind in kinds for column in columns if column.dtype == kind and _whole(column)), "")


def _groups(columns: Sequence[pl.Series]) -> str:
    """Return a column of dates, else one that identifies an entity; rows with one value are dependent."""
    days = [column for column in columns if column.dtype == pl.Date]
    entities = [column for column in columns if ENTITY_NAME.search(column.name) and not column.dtype.is_float()]
    shared = (
        column.name
        for column in (*days, *entities)
        if _whole(column) and FEWEST_GROUPS <= column.n_unique() <= len(column) / 2
    )
    return next(shared, "")


def _is_feature(column: pl.Series) -> bool:
    """Return whether a column varies between rows and does not identify each row."""
    count = column.drop_nulls().n_unique()
    if count < 2 or not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)):
        return False
    names_each = count > len(column) / 2 and (
        column.dtype == pl.String or (column.dtype.is_integer() and count == len(column))
    )
    return not (names_each or (ENTITY_NAME.search(column.name) and column.dtype.is_integer()))


def _is_slice(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Boolean) and 2 <= column.n_unique() <= MAX_CLASSES


def _suspects(table: pl.DataFrame, roles: Roles, positive: str) -> dict[str, str]:
    """Return the columns that look as if they were written after the outcome, each with its finding."""
    target = pl.col(roles.target)
    coded = (target.cast(pl.String) == positive).cast(pl.Int8) if positive else target
    dataset = Dataset(name="table", table=table.with_columns(coded), roles=roles)
    found: dict[str, str] = {}
    for name in SUSPECTS:
        try:
            said = load_check(name)(CheckContext(dataset=dataset))
            found |= {finding.where.removeprefix("column "): f"{finding.code}: {finding.message}" for finding in said}
        except NotApplicable:
            continue
    return found


def _split(time: pl.Series) -> dict[str, tuple[str, str]]:
    """Split by whole days: the first 60 % of the rows for training, 20 % for validation, the rest for testing."""
    days = time.cast(pl.Date).sort()
    edges = [days[0], *(days[int(len(days) * part)] for part in PARTS), days[-1] + timedelta(days=1)]
    if len(set(edges)) < len(edges):
        return {}
    texts = [edge.isoformat() for edge in edges if isinstance(edge, date)]
    return {name: (texts[place], texts[place + 1]) for place, name in enumerate(("train", "validation", "test"))}


def _whole(column: pl.Series) -> bool:
    return column.null_count() == 0
