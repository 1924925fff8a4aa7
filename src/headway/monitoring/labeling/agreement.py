"""Agreement of annotators: a table of key, who and label, measured with intervals over items or groups of items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.labeling import Agreement, Labeling
from headway.core.record import read
from headway.data.labels import agreement
from headway.data.labels.agreement import MISSING_LABEL, Level
from headway.data.read import read_file
from headway.evaluation.statistics.intervals import CHANGE, Sample, jackknife_interval
from headway.monitoring.labeling.delays import label_delays
from headway.monitoring.prediction_log import LABEL_SCHEMA, SegmentReader
from headway.registry.project import Project
from headway.storage import traffic

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
    """Return the stored labels of a name, with who gave them."""
    tables = SegmentReader(traffic.labels_folder(state, name), [*LABEL_SCHEMA]).read()
    if not tables:
        raise DataError(
            "no label is stored yet", where=str(state), hint="headway labels add FILE, or headway labels agree FILE"
        )
    return pl.concat(tables).sort("at_us", maintain_order=True)


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
    seen = agreement.label_counts(annotations.labels, count)
    values = _numeric_classes(annotations.classes)

    def alpha(tables: Floats) -> Floats:
        return agreement.krippendorff_alpha(tables, level, values)

    yield _measurement("agreement.krippendorff", alpha, agreement.coincidences(seen), annotations.groups)
    yield _measurement("agreement.fleiss", agreement.fleiss_kappa, agreement.fleiss_tables(seen), annotations.groups)
    for one, other in combinations(range(min(len(annotations.annotators), MAX_PAIRED_ANNOTATORS)), 2):
        pairs = agreement.pair_tables(annotations.labels[:, one], annotations.labels[:, other], count)
        both = pairs.any(axis=(1, 2))
        if both.sum() < 2:
            continue
        groups = np.unique(annotations.groups[both], return_inverse=True)[1]
        found = _measurement("agreement.cohen", agreement.cohen_kappa, pairs[both], groups)
        yield replace(found, slice=f"{annotations.annotators[one]} & {annotations.annotators[other]}")


def _measurement(name: str, measure: Callable[[Floats], Floats], tables: Floats, groups: Ints) -> Measurement:
    without = measure(agreement.leave_one_group_out(tables, groups))
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
