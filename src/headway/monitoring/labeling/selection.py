"""Selection of rows for people: requests to label next, and labels that may be wrong."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.labeling import LabelRequest, Suspect, Suspects
from headway.data.labels.noise import LabelNoise, estimate_noise
from headway.data.labels.out_of_fold import OutOfFold, out_of_fold
from headway.evaluation.statistics.intervals import Estimate, Sample, t_interval
from headway.monitoring.prediction_log import LabelReader, answered_requests
from headway.monitoring.scored_rows import day_numbers
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
    if variant.task not in ("binary", "multiclass"):
        raise DataError(
            f"selection of rows to label needs class probabilities, and task '{variant.task}' has none",
            where=f"{name}@live",
        )
    waiting = _unlabeled_requests(project, bundle.digest)
    if waiting.is_empty():
        raise DataError("no request with a key is without a label", where=str(state), hint=f"headway serve {name}@live")
    probabilities = _probabilities(waiting)
    rows = waiting.select(f"in.{name}" for name in variant.signature.names).cast(pl.Float64).to_numpy()
    days = day_numbers(waiting["at_us"].to_numpy().astype("datetime64[us]"))
    indexes = next_rows_to_label(probabilities, rows, np.unique(days, return_inverse=True)[1], count)
    doubts = 1 - np.diff(np.sort(probabilities, axis=1)[:, -2:], axis=1)[:, 0]
    return [
        LabelRequest(key=waiting["key"][index], at_us=waiting["at_us"][index], doubt=float(doubts[index]))
        for index in indexes.tolist()
    ]


def _unlabeled_requests(project: Project, digest: str) -> pl.DataFrame:
    """Return the first row of each answered request without a label, the latest ones."""
    root = log_root(project.config, project.name)
    answered = answered_requests(root, project.name, digest)
    if answered.is_empty():
        return answered
    known = LabelReader(root, project.name).read().select("key")
    first = answered.unique("key", keep="first", maintain_order=True)
    return first.join(known, on="key", how="anti", maintain_order="left").tail(MAX_REQUESTS)


def _probabilities(waiting: pl.DataFrame) -> Floats:
    """Return class probabilities, float64 [n, k]; the log of a binary model holds only those of the second class."""
    names = sorted(
        (column for column in waiting.columns if column.startswith("out.")), key=lambda column: int(column[4:])
    )
    outputs = waiting.select(names).cast(pl.Float64).to_numpy()
    return np.column_stack([1 - outputs[:, 0], outputs[:, 0]]) if outputs.shape[1] == 1 else outputs


MAX_SUSPECTS = 1000
SUSPECT_METHOD = "chances of each label, out of fold; leave-one-block-out jackknife over {} blocks of groups, t"


def find_suspects(dataset: Dataset, *, name: str, max_rows: int = MAX_SUSPECTS) -> Suspects:
    """Return the rows whose labels may be wrong, most likely first, and an estimate of how many there are.

    Each row is predicted by a model that was trained on other groups. Raises NotApplicable if labels are not classes,
    or there are too few.
    """
    oof = out_of_fold(dataset)
    noise = estimate_noise(oof)
    order = np.argsort(-noise.error_probability, kind="stable")[:max_rows]
    return Suspects(
        name=name,
        dataset=dataset.digest,
        count=_suspect_count("labels.wrong", noise, oof, index=-1),
        by_class=tuple(_suspect_count("labels.wrong", noise, oof, index=index) for index in range(len(oof.classes))),
        classes=oof.classes,
        transition_matrix=tuple(tuple(map(float, line)) for line in noise.transition),
        rows=tuple(_suspect(dataset, noise, oof, int(row)) for row in order),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _suspect_count(name: str, noise: LabelNoise, oof: OutOfFold, *, index: int) -> Measurement:
    """Measure the number of wrong labels of one class, or of all for index -1."""
    rows = len(oof.labels) if index < 0 else int((oof.labels == index).sum())
    estimate = Estimate(
        value=noise.count if index < 0 else float(noise.counts[index]),
        se=float("inf") if noise.standard_errors is None else float(noise.standard_errors[index]),
        dof=noise.blocks - 1,
        method=SUSPECT_METHOD.format(noise.blocks),
    )
    sample = Sample(n_rows=rows, n_groups=oof.n_groups, bounds=(0.0, float(rows)))
    found = t_interval(name, estimate, sample)
    return found if index < 0 else _sliced(found, oof.classes[index])


def _sliced(measurement: Measurement, named: str) -> Measurement:
    return replace(measurement, slice=f"label={named}")


def _suspect(dataset: Dataset, noise: LabelNoise, oof: OutOfFold, index: int) -> Suspect:
    row = int(oof.rows[index])
    groups = dataset.roles.groups
    return Suspect(
        row=row + 1,
        given_label=oof.classes[oof.labels[index]],
        likely_label=oof.classes[noise.suggested[index]],
        probability=float(noise.error_probability[index]),
        group=str(dataset.table[groups][row]) if groups else "",
    )


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
