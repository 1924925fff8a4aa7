"""Selection of requests for people: which to label next, and which deserve a second opinion."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError
from headway.core.labeling import LabelRequest
from headway.core.variant import DECIDES, Field, Variant
from headway.data.settings.data import DataSection
from headway.monitoring.labeling.agreement import stored_annotations
from headway.monitoring.prediction_log import LabelReader, answered_requests
from headway.monitoring.scored_rows import day_numbers, request_column
from headway.registry.project import Project
from headway.storage.addresses import log_root

POOL_FACTOR = 5
"""Size of the pool of least certain rows, as a multiple of the requested rows."""
GROUP_FACTOR = 3
"""Number of the most rows that one group may provide, as a multiple of its even share."""
OUTLIER_SHARE = 0.05
"""Share of the rows that are least similar to all others, which are excluded as outliers."""
MAX_REQUESTS = 50_000
"""Maximum number of candidates, the latest requests."""


def next_to_label(project: Project, count: int) -> list[LabelRequest]:
    """Return at most `count` requests to label next, the most uncertain first, spread over days.

    Candidates are requests that the live release answered and that have no label. Raises DataError without any, or if
    the predictions are not class probabilities.
    """
    name, state = project.name, project.config.state
    bundle = project.registry.resolve(f"{name}@live")
    variant = bundle.release.variant
    _require_classes(variant, f"{name}@live")
    waiting = _unlabeled_requests(project, bundle.digest)
    if waiting.is_empty():
        raise DataError("no request with a key is without a label", where=str(state), hint=f"headway serve {name}@live")
    probabilities = probabilities_of(waiting)
    rows = waiting.select(f"in.{name}" for name in variant.signature.names).cast(pl.Float64).to_numpy()
    days = day_numbers(waiting["at_us"].to_numpy().astype("datetime64[us]"))
    indexes = next_rows_to_label(probabilities, rows, np.unique(days, return_inverse=True)[1], count)
    return requests_of_rows(waiting[indexes], variant)


def second_opinions(project: Project, who: str, count: int) -> list[LabelRequest]:
    """Return at most `count` requests that one other person has labeled, the last labeled first.

    A second label of them measures how far two people agree. Raises DataError without any.
    """
    name, root = project.name, log_root(project.config, project.name)
    bundle = project.registry.resolve(f"{name}@live")
    _require_classes(bundle.release.variant, f"{name}@live")
    labels = stored_annotations(root, name).group_by("key").agg(pl.col("who").unique(), pl.col("at_us").max())
    alone = labels.filter((pl.col("who").list.len() == 1) & ~pl.col("who").list.contains(who))
    answered = answered_requests(root, name, bundle.digest)
    if not answered.is_empty():
        first = answered.unique("key", keep="first", maintain_order=True)
        answered = first.join(alone.select("key", labeled="at_us"), on="key").sort("labeled", descending=True)
    if answered.is_empty():
        raise DataError("no request was labeled by one other person alone", where=f"{name}@live")
    return requests_of_rows(answered.head(count), bundle.release.variant)


def label_classes(project: Project) -> list[tuple[float, str]]:
    """Return the labels that a request to the live release can have, each with its name."""
    release = project.registry.resolve(f"{project.name}@live").release
    _require_classes(release.variant, f"{project.name}@live")
    if release.variant.task == "multiclass":
        return [(float(index), name) for index, name in enumerate(release.class_names)]
    positive = project.config[DataSection].positive or "1"
    return [(0.0, "0" if positive == "1" else f"not {positive}"), (1.0, positive)]


def _require_classes(variant: Variant, where: str) -> None:
    if variant.task not in DECIDES:
        raise DataError(
            f"selection of rows to label needs class probabilities, and task '{variant.task}' has none", where=where
        )


def requests_of_rows(rows: pl.DataFrame, variant: Variant) -> list[LabelRequest]:
    """Return logged rows as requests to label, with the values that the model read as text."""
    probabilities = probabilities_of(rows)
    doubts = 1 - np.diff(np.sort(probabilities, axis=1)[:, -2:], axis=1)[:, 0]
    inputs = rows.select(request_column(field) for field in variant.signature.inputs if is_logged(rows, field))
    return [
        LabelRequest(
            key=rows["key"][index],
            at_us=rows["at_us"][index],
            doubt=float(doubts[index]),
            inputs={name: as_text(value) for name, value in inputs.row(index, named=True).items()},
            scores=tuple(map(float, probabilities[index])),
        )
        for index in range(len(rows))
    ]


def is_logged(rows: pl.DataFrame, field: Field) -> bool:
    """Return whether the log has a feature of the live release; that of an earlier one may lack it."""
    return f"{'text' if field.is_text else 'in'}.{field.name}" in rows.columns


def as_text(value: object) -> str:
    """Return a value as a person reads it; missing ones are empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _unlabeled_requests(project: Project, digest: str) -> pl.DataFrame:
    """Return the first row of each answered request without a label, the latest ones."""
    root = log_root(project.config, project.name)
    answered = answered_requests(root, project.name, digest)
    if answered.is_empty():
        return answered
    known = LabelReader(root, project.name).read().select("key")
    first = answered.unique("key", keep="first", maintain_order=True)
    return first.join(known, on="key", how="anti", maintain_order="left").tail(MAX_REQUESTS)


def probabilities_of(waiting: pl.DataFrame) -> Floats:
    """Return class probabilities, float64 [n, k]; the log of a binary model holds only those of the second class."""
    names = sorted(
        (column for column in waiting.columns if column.startswith("out.")), key=lambda column: int(column[4:])
    )
    outputs = waiting.select(names).cast(pl.Float64).to_numpy()
    return np.column_stack([1 - outputs[:, 0], outputs[:, 0]]) if outputs.shape[1] == 1 else outputs


def next_rows_to_label(probabilities: Floats, rows: Floats, groups: Ints, count: int) -> Ints:
    """Select up to `count` rows by uncertainty and diversity, the most useful first.

    Margin sampling (Scheffer et al. 2001) picks a pool of uncertain rows; from it, each next row is the farthest
    from those chosen before, weighted by its uncertainty (Sener and Savarese 2018).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Predicted class probabilities.
    rows : ndarray of shape (n, d)
        Features, NaN where missing.
    groups : ndarray of shape (n,)
        Group codes from 0.
    count : int
        Maximum number of rows.

    Returns
    -------
    ndarray of shape (m,)
        Row indices.
    """
    ordered = np.sort(probabilities, axis=1)
    uncertainty = 1 - (ordered[:, -1] - ordered[:, -2])
    positions = _standardized(rows)
    distance = np.abs(positions).mean(axis=1)
    inliers = np.flatnonzero(distance <= np.quantile(distance, 1 - OUTLIER_SHARE))
    pool = inliers[np.argsort(-uncertainty[inliers], kind="stable")[: POOL_FACTOR * count]]
    max_per_group = GROUP_FACTOR * math.ceil(count / max(1, len(np.unique(groups[pool]))))
    return _farthest_first(pool, positions, uncertainty, (groups, max_per_group))[:count]


def _farthest_first(pool: Ints, positions: Floats, uncertainty: Floats, of_group: tuple[Ints, int]) -> Ints:
    """Order the pool by weighted distance to the rows chosen before, with at most `max_per_group` of a group."""
    groups, max_per_group = of_group
    chosen_of_group = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    nearest = np.full(len(pool), np.inf)
    available = np.ones(len(pool), dtype=np.bool_)
    chosen: list[int] = []
    while available.any():
        value = np.where(available, np.where(np.isinf(nearest), 1.0, nearest) * uncertainty[pool], -1.0)
        best = int(value.argmax())
        chosen.append(int(pool[best]))
        chosen_of_group[groups[pool[best]]] += 1
        nearest = np.minimum(nearest, np.linalg.norm(positions[pool] - positions[pool[best]], axis=1))
        available[best] = False
        available &= chosen_of_group[groups[pool]] < max_per_group
    return np.array(chosen, dtype=np.int64)


def _standardized(rows: Floats) -> Floats:
    """Standardize columns to mean 0 and deviation 1; missing values become 0."""
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, rows - np.nansum(rows, axis=0) / count, 0.0)
    spread = np.sqrt(np.square(centered).sum(axis=0) / count)
    return centered / np.where(spread > 0, spread, 1.0)
