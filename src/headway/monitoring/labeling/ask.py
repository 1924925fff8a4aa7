"""Which requests to label next: of what the live release answered and nobody labelled, those it is most torn about."""

from __future__ import annotations

import numpy as np
import polars as pl

from headway.core.errors import DataError
from headway.core.labelling import Wanted
from headway.data.labels.said import Floats
from headway.data.labels.worth import next_rows_to_label
from headway.monitoring.answered import days_of
from headway.monitoring.rollout.log import Labels, predictions
from headway.registry.project import Project

MOST_ROWS = 50_000
"""The latest requests that are looked at."""


def wanted(project: Project, count: int) -> list[Wanted]:
    """At most so many requests, the first ones first; days are the groups of which none gives them all.

    Raises DataError where no request waits for a label, or the answers are no probabilities of classes.
    """
    name, state = project.name, project.config.state
    bundle = project.register.resolve(f"{name}@live")
    variant = bundle.release.variant
    if variant.task not in ("binary", "multiclass"):
        raise DataError(
            f"what to label next is told by probabilities, and task '{variant.task}' has none", where=f"{name}@live"
        )
    waiting = _waiting(project, bundle.digest)
    if waiting.is_empty():
        raise DataError(
            "no request with a key waits for its label", where=str(state), hint=f"headway serve {name}@live"
        )
    probabilities = _probabilities(waiting)
    rows = waiting.select(f"in.{each}" for each in variant.signature.names).cast(pl.Float64).to_numpy()
    days = days_of(waiting["at_us"].to_numpy().astype("datetime64[us]"))
    places = next_rows_to_label(probabilities, rows, np.unique(days, return_inverse=True)[1], count)
    doubts = 1 - np.diff(np.sort(probabilities, axis=1)[:, -2:], axis=1)[:, 0]
    return [
        Wanted(key=waiting["key"][place], at_us=waiting["at_us"][place], doubt=float(doubts[place]))
        for place in places.tolist()
    ]


def _waiting(project: Project, digest: str) -> pl.DataFrame:
    """The first row of each answered request whose key has no label, the latest ones."""
    logged = predictions(project.config.state, project.name, [digest])
    if logged.is_empty():
        return logged
    known = Labels(project.config.state, project.name).read().select("key")
    asked = logged.filter((pl.col("answered") == 1) & (pl.col("status") == 0) & (pl.col("key") != ""))
    first = asked.unique("key", keep="first", maintain_order=True)
    return first.join(known, on="key", how="anti", maintain_order="left").tail(MOST_ROWS)


def _probabilities(waiting: pl.DataFrame) -> Floats:
    """Of each class, float64 [n, k]; the log of two classes has that of the second alone."""
    names = sorted((each for each in waiting.columns if each.startswith("out.")), key=lambda each: int(each[4:]))
    said = waiting.select(names).cast(pl.Float64).to_numpy()
    return np.column_stack([1 - said[:, 0], said[:, 0]]) if said.shape[1] == 1 else said
