"""Inter-annotator agreement beyond chance: Cohen's and Fleiss' kappa, and Krippendorff's alpha, with intervals.

The input is a table of key, who and label. Each statistic is a function of a sum over items, so a jackknife over items
or groups only needs subtractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.labeling import Agreement, Labeling
from headway.core.record import read
from headway.data.read import read_file
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife_interval
from headway.monitoring.labeling.delays import label_delays
from headway.monitoring.prediction_log import LABEL_SCHEMA, SegmentReader, without_remote
from headway.registry.project import Project
from headway.storage import traffic

Level = Literal["nominal", "ordinal", "interval"]
MISSING_LABEL = -1
"""Code of a label that an annotator did not give."""
COLUMNS = ("key", "who", "label")
MAX_PAIRED_ANNOTATORS = 8
_HINT = "a csv or parquet file with columns key, who and label: one line for measurement label"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """Labels int64 [items, annotators] as indexes into `classes`, NONE if not given; `groups` int64 [items]."""

    labels: Ints
    groups: Ints
    annotators: tuple[str, ...]
    classes: tuple[str, ...]


def read_annotations(file: Path) -> pl.DataFrame:
    """Read the labels of a file; a column `group` marks dependent items. Raises DataError if a column is missing."""
    table = read_file(file)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"the file has no column '{missing[0]}'", where=str(file), hint=_HINT)
    return table


def stored_annotations(state: Path, name: str) -> pl.DataFrame:
    """Return the stored labels of a name that people gave, with who gave them."""
    tables = SegmentReader(traffic.labels_folder(state, name), [*LABEL_SCHEMA]).read()
    found = without_remote(pl.concat(tables)) if tables else pl.DataFrame()
    if found.is_empty():
        raise DataError(
            "no label is stored yet", where=str(state), hint="headway labels add FILE, or headway labels agree FILE"
        )
    return found.sort("at_us", maintain_order=True)


def measure_agreement(table: pl.DataFrame, *, name: str, source: str, level: Level = "nominal") -> Agreement:
    """Measure Krippendorff's alpha, Fleiss' kappa, and Cohen's kappa of each pair, with intervals over items or groups.

    If an annotator labeled an item twice, the later label counts. Raises DataError if no item has two labels.
    """
    annotations = annotation_matrix(table)
    found = [
        measurement for measurement in _agreement_measurements(annotations, level) if np.isfinite(measurement.value)
    ]
    return Agreement(
        name=name,
        source=source,
        annotators=annotations.annotators,
        measurements=tuple(found),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def annotation_matrix(table: pl.DataFrame) -> Annotations:
    """Return the labels as a matrix of items and annotators; items with fewer than two labels are left out."""
    last = table.drop_nulls([*COLUMNS]).unique(["key", "who"], keep="last", maintain_order=True)
    annotators, classes = last["who"].cast(pl.String).unique().sort(), last["label"].unique().sort()
    items = last.unique("key", maintain_order=True)
    labels = np.full((len(items), len(annotators)), MISSING_LABEL, dtype=np.int64)
    indexes = (_positions(last["key"], items["key"]), _positions(last["who"].cast(pl.String), annotators))
    labels[indexes] = _positions(last["label"], classes)
    paired = (labels != MISSING_LABEL).sum(axis=1) >= 2
    if not paired.any():
        raise DataError(
            f"no item has labels of two annotators: {len(items):,} items, {len(annotators)} annotators", hint=_HINT
        )
    paired_items = items.filter(pl.Series(paired))
    named = paired_items["group"] if "group" in paired_items.columns else paired_items["key"]
    return Annotations(
        labels=labels[paired],
        groups=_positions(named, named.unique(maintain_order=True)),
        annotators=tuple(annotators),
        classes=tuple(map(str, classes)),
    )


def _agreement_measurements(annotations: Annotations, level: Level) -> Iterator[Measurement]:
    count = len(annotations.classes)
    seen = label_counts(annotations.labels, count)
    values = _numeric_classes(annotations.classes)

    def alpha(tables: Floats) -> Floats:
        return krippendorff_alpha(tables, level, values)

    yield _measurement("agreement.krippendorff", alpha, coincidences(seen), annotations.groups)
    yield _measurement("agreement.fleiss", fleiss_kappa, fleiss_tables(seen), annotations.groups)
    for one, other in combinations(range(min(len(annotations.annotators), MAX_PAIRED_ANNOTATORS)), 2):
        pairs = pair_tables(annotations.labels[:, one], annotations.labels[:, other], count)
        both = pairs.any(axis=(1, 2))
        if both.sum() < 2:
            continue
        groups = np.unique(annotations.groups[both], return_inverse=True)[1]
        found = _measurement("agreement.cohen", cohen_kappa, pairs[both], groups)
        yield replace(found, slice=f"{annotations.annotators[one]} & {annotations.annotators[other]}")


def _measurement(name: str, measure: Callable[[Floats], Floats], tables: Floats, groups: Ints) -> Measurement:
    without = measure(leave_one_group_out(tables, groups))
    sample = Sample(n_rows=len(tables), n_groups=len(without), bounds=CHANGE)
    return jackknife_interval(name, float(measure(tables.sum(axis=0))), without, sample)


def _numeric_classes(classes: tuple[str, ...]) -> Floats | None:
    """Return the classes as numbers, None if one is not a number."""
    numbers = pl.Series(classes).cast(pl.Float64, strict=False)
    return None if numbers.null_count() else numbers.to_numpy()


def _positions(values: pl.Series, among: pl.Series) -> Ints:
    found: Ints = values.replace_strict(among, pl.Series(range(len(among))), return_dtype=pl.Int64).to_numpy()
    return found


def labeling_records(project: Project) -> Labeling:
    """Return what is known about the labels of a project, for its data checks; each part is read when it is used."""
    return Labeling(agreement=partial(last_agreement, project), delays=partial(label_delays, project))


def last_agreement(project: Project) -> Agreement | None:
    """Return the last agreement measurement, None if there is none."""
    content = project.state.latest("agreement", name=project.name)
    return read(Agreement, content) if content else None


def pair_tables(first: Ints, second: Ints, n_classes: int) -> Floats:
    """Return a one-hot table per item of the classes that two annotators chose, shape (items, k, k).

    An item that one of them left out is all zero.
    """
    both = (first != MISSING_LABEL) & (second != MISSING_LABEL)
    found = np.zeros((len(first), n_classes, n_classes))
    found[np.flatnonzero(both), first[both], second[both]] = 1.0
    return found


def cohen_kappa(tables: Floats) -> Floats:
    """Compute Cohen's kappa (1960) of count tables of shape (..., k, k).

    >>> round(float(cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))), 3)
    0.4
    """
    rows = tables.sum(axis=(-2, -1))
    observed = np.trace(tables, axis1=-2, axis2=-1) / rows
    expected_by_chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / np.square(rows)
    return _chance_corrected(observed, expected_by_chance)


def label_counts(labels: Ints, n_classes: int) -> Floats:
    """Count the annotators that gave each class to each item: (items, annotators) to (items, k)."""
    classes = np.arange(n_classes)
    found: Floats = (labels[:, :, None] == classes).sum(axis=1).astype(np.float64)
    return found


def fleiss_tables(counts: Floats) -> Floats:
    """Return the share of agreeing pairs, 1, and the class shares of each item, shape (items, 2 + k).

    Items have equal weight, however many annotators they had; items with fewer than two are all zero.
    """
    many = counts.sum(axis=1)
    paired = many >= 2
    agreeing = (counts * (counts - 1)).sum(axis=1) / np.maximum(many * (many - 1), 1)
    shares = counts / np.maximum(many, 1)[:, None]
    found: Floats = np.column_stack([agreeing, np.ones(len(counts)), shares]) * paired[:, None]
    return found


def fleiss_kappa(tables: Floats) -> Floats:
    """Compute Fleiss' kappa (1971) of sums of `fleiss_tables`, shape (..., 2 + k)."""
    items = tables[..., 1]
    observed = tables[..., 0] / items
    expected_by_chance = np.square(tables[..., 2:] / items[..., None]).sum(axis=-1)
    return _chance_corrected(observed, expected_by_chance)


def coincidences(counts: Floats) -> Floats:
    """Return Krippendorff's coincidence matrices of counts (items, k), shape (items, k, k)."""
    many = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    return np.where(many >= 2, 1 / np.maximum(many - 1, 1), 0.0)[:, None, None] * pairs


def krippendorff_alpha(tables: Floats, level: Level = "nominal", values: Floats | None = None) -> Floats:
    """Compute Krippendorff's alpha (2011) of sums of `coincidences`, shape (..., k, k).

    `values`, of shape (k,), are the numeric values of the classes for the interval level.
    """
    totals = tables.sum(axis=-1)
    distances = _DISTANCES[level](totals, np.arange(totals.shape[-1], dtype=np.float64) if values is None else values)
    rows = totals.sum(axis=-1)
    expected_by_chance = totals[..., :, None] * totals[..., None, :] / (rows - 1)[..., None, None]
    observed, expected = ((table * distances).sum(axis=(-2, -1)) for table in (tables, expected_by_chance))
    return _chance_corrected(1 - observed / rows, 1 - expected / rows)


def leave_one_group_out(tables: Floats, groups: Ints) -> Floats:
    """Sum the tables of all items except those of each group, shape (G, ...)."""
    sums = np.zeros((int(groups.max()) + 1, *tables.shape[1:]))
    np.add.at(sums, groups, tables)
    rest: Floats = tables.sum(axis=0) - sums
    return rest


def _chance_corrected(observed: Floats, expected_by_chance: Floats) -> Floats:
    """Return (observed - chance) / (1 - chance), NaN if all labels are one class."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(
            1 - expected_by_chance > 1e-12, (observed - expected_by_chance) / (1 - expected_by_chance), np.nan
        )
    return found


def _nominal_distance(totals: Floats, _values: Floats) -> Floats:
    return 1 - np.eye(totals.shape[-1])


def _interval_distance(_totals: Floats, values: Floats) -> Floats:
    return np.square(values[:, None] - values[None, :])


def _ordinal_distance(totals: Floats, _values: Floats) -> Floats:
    """Return the squared number of labels between two classes, counting half of each of the two."""
    middles = np.cumsum(totals, axis=-1) - totals / 2
    return np.square(middles[..., :, None] - middles[..., None, :])


_DISTANCES: dict[Level, Callable[[Floats, Floats], Floats]] = {
    "nominal": _nominal_distance,
    "ordinal": _ordinal_distance,
    "interval": _interval_distance,
}
