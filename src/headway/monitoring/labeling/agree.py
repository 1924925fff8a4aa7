"""How far annotators agree: a table of key, who and label, measured with intervals over items or groups of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.labelling import Agreement
from headway.data.labels import agreement
from headway.data.labels.agreement import MISSING_LABEL, Level
from headway.data.labels.said import Floats, Ints
from headway.data.read import read_file
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife
from headway.monitoring.rollout.log import LABELS, Tail
from headway.storage import traffic

COLUMNS = ("key", "who", "label")
MOST_PAIRED = 8
_MEND = "a csv or parquet file with columns key, who and label: a line for each label that somebody gave"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Labels int64 [items, annotators], NONE where one gave none, as places in `classes`; `groups` int64 [items]."""

    labels: Ints
    groups: Ints
    annotators: tuple[str, ...]
    classes: tuple[str, ...]


def of_file(file: Path) -> pl.DataFrame:
    """The labels of a file; a column `group` says which items share fate. Raises DataError where it holds none."""
    table = read_file(file)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"the file has no column '{missing[0]}'", where=str(file), hint=_MEND)
    return table


def of_store(state: Path, name: str) -> pl.DataFrame:
    """The labels that were kept for a name, by who gave them."""
    tables = Tail(traffic.labels_folder(state, name), [*LABELS]).read()
    if not tables:
        raise DataError(
            "no label was kept yet", where=str(state), hint="headway labels add FILE, or headway labels agree FILE"
        )
    return pl.concat(tables).sort("at_us", maintain_order=True)


def agree(table: pl.DataFrame, *, name: str, source: str, level: Level = "nominal") -> Agreement:
    """Krippendorff's alpha, Fleiss' kappa, and Cohen's kappa of each pair, with intervals over items or their groups.

    Of two labels of one annotator for one item the later holds. Raises DataError where no item has two labels.
    """
    given = given_of(table)
    found = [each for each in _measured(given, level) if np.isfinite(each.value)]
    return Agreement(
        name=name,
        source=source,
        annotators=given.annotators,
        measurements=tuple(found),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def given_of(table: pl.DataFrame) -> Given:
    """Who gave which label to which item."""
    last = table.drop_nulls([*COLUMNS]).unique(["key", "who"], keep="last", maintain_order=True)
    annotators, classes = last["who"].cast(pl.String).unique().sort(), last["label"].unique().sort()
    items = last.unique("key", maintain_order=True)
    labels = np.full((len(items), len(annotators)), MISSING_LABEL, dtype=np.int64)
    places = (_places(last["key"], items["key"]), _places(last["who"].cast(pl.String), annotators))
    labels[places] = _places(last["label"], classes)
    paired = (labels != MISSING_LABEL).sum(axis=1) >= 2
    if not paired.any():
        raise DataError(
            f"no item has labels of two annotators: {len(items):,} items, {len(annotators)} annotators", hint=_MEND
        )
    kept = items.filter(pl.Series(paired))
    named = kept["group"] if "group" in kept.columns else kept["key"]
    return Given(
        labels=labels[paired],
        groups=_places(named, named.unique(maintain_order=True)),
        annotators=tuple(annotators),
        classes=tuple(map(str, classes)),
    )


def _measured(given: Given, level: Level) -> Iterator[Measurement]:
    count = len(given.classes)
    seen = agreement.label_counts(given.labels, count)
    values = _values(given.classes)

    def alpha(tables: Floats) -> Floats:
        return agreement.krippendorff_alpha(tables, level, values)

    yield _one("agreement.krippendorff", alpha, agreement.coincidences(seen), given.groups)
    yield _one("agreement.fleiss", agreement.fleiss_kappa, agreement.fleiss_tables(seen), given.groups)
    for one, other in combinations(range(min(len(given.annotators), MOST_PAIRED)), 2):
        pairs = agreement.pair_tables(given.labels[:, one], given.labels[:, other], count)
        both = pairs.any(axis=(1, 2))
        if both.sum() < 2:
            continue
        groups = np.unique(given.groups[both], return_inverse=True)[1]
        found = _one("agreement.cohen", agreement.cohen_kappa, pairs[both], groups)
        yield replace(found, slice=f"{given.annotators[one]} & {given.annotators[other]}")


def _one(name: str, measure: Callable[[Floats], Floats], tables: Floats, groups: Ints) -> Measurement:
    without = measure(agreement.leave_one_group_out(tables, groups))
    sample = Sample(n_rows=len(tables), n_groups=len(without), bounds=CHANGE)
    return jackknife(name, float(measure(tables.sum(axis=0))), without, sample)


def _values(classes: tuple[str, ...]) -> Floats | None:
    """The classes as numbers, where all are."""
    numbers = pl.Series(classes).cast(pl.Float64, strict=False)
    return None if numbers.null_count() else numbers.to_numpy()


def _places(values: pl.Series, among: pl.Series) -> Ints:
    found: Ints = values.replace_strict(among, pl.Series(range(len(among))), return_dtype=pl.Int64).to_numpy()
    return found
