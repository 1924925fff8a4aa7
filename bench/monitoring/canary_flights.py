"""The flights from September on as traffic, in order of time: to a sound release, and to one with a broken view."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import flight_data
from flight_data import demo_project
from headway import pipeline
from headway.core.arrays import Floats, Ints
from headway.core.contracts import Engine
from headway.core.variant import Signature
from headway.data.matrix import matrix, target_values
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, split_dataset
from headway.evaluation.comparison import open_variant
from headway.optimization.context import TransformContext
from headway.optimization.transforms.truncate import plugin as truncate
from headway.registry.key_assignment import assign_hashes, key_hashes
from headway.registry.rollout import Traffic

TREES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Flights in order: scores of live, of the release, and of the release with UTC times; lateness; all float64 [n].

    `labelled_at` is the index of the flight at whose departure the outcome is known, a day later; `planes` are tail
    numbers.
    """

    live: Floats
    sound: Floats
    broken: Floats
    late: Floats
    threshold: float
    labelled_at: Ints
    planes: list[str]


def live() -> Live:
    """Train the demo's model on January to April, cut it to 200 trees, and score the following flights with both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = demo_project(folder)
        data = pipeline.periods(project)
        baseline = pipeline.train(project, data)
        bench = TransformContext(blobs=project.blobs, sample=np.zeros((0, 0)))
        shorter = next(
            candidate for candidate in truncate(baseline.model, bench) if candidate.steps[-1].settings["trees"] == TREES
        )
        engines = [open_variant(variant, project.blobs) for variant in (baseline.model, shorter)]
        broken = split_dataset(flight_data.with_utc_times(project, data["live"]), project.config[SplitSection])["live"]
        project.state.close()
    signature = baseline.model.signature
    views = [labeled_rows(period) for period in (data["live"], broken)]
    right, wrong = (view.table.sort("departs_at", maintain_order=True) for view in views)
    departs = right["departs_at"].to_numpy()
    return Live(
        live=_scores(engines[0], right, signature),
        sound=_scores(engines[1], right, signature),
        broken=_scores(engines[1], wrong, signature),
        late=target_values(views[0])[_order(views[0].table)],
        threshold=baseline.threshold,
        labelled_at=np.searchsorted(departs, departs + np.timedelta64(1, "D")).astype(np.int64),
        planes=right["tailnum"].fill_null("unknown").to_list(),
    )


def traffic(data: Live, release: Floats, rows: slice, *, share: float, keys: list[str]) -> tuple[Traffic, Ints]:
    """Return these flights as requests, those of the release answered by both arms, and the labels' order of arrival.

    No request fails or is slow.
    """
    hashes = key_hashes(keys, salt=str(rows.start))
    ours = assign_hashes(hashes, share)
    both = np.column_stack([data.live[rows], release[rows]])
    both[~ours, 0] = np.nan
    nothing = np.zeros_like(both)
    known = {
        "error_rate": nothing,
        "slow_requests": nothing,
        "decision": np.where(np.isnan(both), np.nan, both >= data.threshold),
        "brier": np.square(both - data.late[rows, None]),
    }
    return Traffic(keys=hashes, canary=ours, known=known), data.labelled_at[rows] - rows.start


def _scores(engine: Engine, table: pl.DataFrame, signature: Signature) -> Floats:
    return np.asarray(engine.predict(matrix(table, signature))[:, 0])


def _order(table: pl.DataFrame) -> Ints:
    return np.argsort(table["departs_at"].to_numpy(), kind="stable")
