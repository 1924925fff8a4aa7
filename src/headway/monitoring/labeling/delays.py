"""Label delay: the time from a request to its label, with requests that have no label yet as censored observations."""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats
from headway.core.evidence import Measurement
from headway.core.labeling import Delays
from headway.data.settings.data import DataSection
from headway.evaluation.statistics.intervals import Sample, exact_measurement
from headway.evaluation.statistics.proportions import groups_share
from headway.evaluation.statistics.tables import tally
from headway.monitoring.prediction_log import LABEL_SCHEMA, SegmentReader, answered_requests, without_remote
from headway.monitoring.scored_rows import day_numbers, parse_delay
from headway.registry.project import Project
from headway.storage import traffic
from headway.storage.addresses import log_root

SHARES = (0.5, 0.9, 0.99)
METHOD = "Kaplan and Meier (1958): a request without a label is censored at its age"


def label_delays(project: Project, *, now_us: int = 0) -> Delays | None:
    """Measure the label delays of the live release's predictions; None if it has answered no request with a key."""
    if project.state.last(project.name, "live") is None:
        return None
    digest = project.registry.resolve(f"{project.name}@live").digest
    answered = answered_requests(log_root(project.config, project.name), project.name, digest)
    if answered.is_empty():
        return None
    first = answered.unique("key", keep="first").select("key", "at_us", weight=1 / pl.col("rate")).sort("at_us", "key")
    joined = first.join(_first_label_times(project), on="key", how="left", maintain_order="left")
    now = now_us or time.time_ns() // 1000
    labeled_us = joined["labeled_us"].fill_null(now).to_numpy()
    waited = np.maximum(labeled_us - joined["at_us"].to_numpy(), 0) / 1e6
    known = joined["labeled_us"].is_not_null().to_numpy()
    declared = parse_delay(project.config[DataSection].label_delay).total_seconds()
    return Delays(
        n_requests=len(joined),
        n_labeled=int(known.sum()),
        declared_s=declared,
        quantiles=tuple(_quantile(waited, known, joined["weight"].to_numpy(), share) for share in SHARES),
        late=_late_share(joined, waited, known, declared, now) if declared else None,
    )


def kaplan_meier_quantile(waited: Floats, known: Bools, share: float, weights: Floats | None = None) -> float:
    """Return the delay by which a share of labels has arrived, by the Kaplan-Meier estimator; infinite if not reached.

    Requests of a log that samples count by their weights.

    >>> kaplan_meier_quantile(np.array([1.0, 2.0, 3.0, 3.0]), np.array([True, True, True, False]), 0.5)
    2.0
    """
    order = np.lexsort((~known, waited))
    mass = np.ones(len(waited)) if weights is None else weights[order]
    at_risk = np.cumsum(mass[::-1])[::-1]
    survival = np.cumprod(np.where(known[order], 1 - mass / at_risk, 1.0))
    found = np.flatnonzero(1 - survival >= share - 1e-12)
    return float(waited[order][found[0]]) if len(found) else float("inf")


def _quantile(waited: Floats, known: Bools, weights: Floats, share: float) -> Measurement:
    longest = float(np.finfo(np.float64).max)
    value = min(kaplan_meier_quantile(waited, known, share, weights), longest)
    return exact_measurement(f"labels.delay.p{share * 100:g}", value, n_rows=len(waited), method=METHOD)


def _late_share(joined: pl.DataFrame, waited: Floats, known: Bools, declared: float, now: int) -> Measurement | None:
    """Measure the share of labels that were late, among requests older than the declared delay; groups are days."""
    asked_us = joined["at_us"].to_numpy()
    old = (now - asked_us) / 1e6 >= declared
    if not old.any():
        return None
    days = np.unique(day_numbers(asked_us[old].astype("datetime64[us]")), return_inverse=True)[1]
    late = ~(known & (waited <= declared))[old]
    weights = joined["weight"].to_numpy()[old]
    sample = Sample(n_rows=int(old.sum()), n_groups=int(days.max()) + 1)
    n_days = sample.n_groups
    return groups_share("labels.late", tally(days, n_days, late * weights), tally(days, n_days, weights), sample)


def _first_label_times(project: Project) -> pl.DataFrame:
    """Return when the first label of each key arrived."""
    folder = traffic.labels_folder(log_root(project.config, project.name), project.name)
    tables = SegmentReader(folder, [*LABEL_SCHEMA]).read()
    labels = without_remote(pl.concat(tables) if tables else pl.DataFrame(schema=LABEL_SCHEMA))
    return labels.group_by("key").agg(labeled_us=pl.col("at_us").min())
