"""From the log and the labels to what a rollout is judged by: traffic as `evidence.canary` observes it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from headway.core.config import Config
from headway.core.release import Release
from headway.core.rollout import Rollout
from headway.evaluation.canary import DECISION, Traffic
from headway.evaluation.observed import Bools
from headway.evaluation.statistics.betting import Floats
from headway.monitoring.rollout.log import Labels, Requests
from headway.registry.assign import Keys, assigned, key_hashes

BRIER = "brier"
SIDES = ("live", "release")
_WAITING = {"key": pl.String, "hash": pl.UInt64, "canary": pl.Boolean, "live": pl.Float64, "release": pl.Float64}


class Paired:
    """Reads what is new of a rollout's stage; `requests` and `of_release` count what was read."""

    def __init__(self, config: Config, rollout: Rollout, live: Release, release: Release) -> None:
        self.requests = self.of_release = 0
        self._rollout = rollout
        self._slow_us = config.slo.p99_ms * 1000
        self._releases = (live, release)
        self._new = Requests(config.state, rollout)
        self._labels = Labels(config.state, rollout.name)
        self._known = pl.DataFrame(schema={"key": pl.String, "label": pl.Float64})
        self._waiting = pl.DataFrame(schema=_WAITING)

    def read(self) -> Iterator[Traffic]:
        """The traffic that is new: requests in the order of their answers, then those whose labels have come."""
        table = self._new.read()
        if self._rollout.share and not table.is_empty():
            table = table.filter(pl.col("key") != "")  # live answers them all: chance did not assign them
        if not table.is_empty():
            yield self._requests(table)
        labelled = self._labelled()
        if not labelled.is_empty():
            yield self._losses(labelled)

    def _requests(self, table: pl.DataFrame) -> Traffic:
        keys = self._hashes(table)
        share = self._rollout.share
        canary = assigned(keys, share) if share else np.zeros(len(keys), dtype=np.bool_)
        status, latency = (_both(table, name) for name in ("status", "latency_us"))
        scores = [_scores(table, side) for side in SIDES]
        self.requests += len(table)
        self.of_release += int((~np.isnan(status[:, 1])).sum())
        if self._releases[1].variant.task == "binary":
            self._waiting = pl.concat([self._waiting, _waits(table, keys, canary, scores)])
        known = {
            "error_rate": status,
            "slow_requests": np.where(np.isnan(latency), np.nan, latency > self._slow_us),
            DECISION: np.column_stack([_decisions(table, *each) for each in zip(SIDES, self._releases, strict=True)]),
        }
        return Traffic(keys=keys, canary=canary, known=known)

    def _hashes(self, table: pl.DataFrame) -> Keys:
        """Of each key; a request without one shares fate with no other."""
        hashes = key_hashes(table["key"].to_list(), self._rollout.salt)
        return np.where((table["key"] == "").to_numpy(), table["request"].to_numpy().astype(np.uint64), hashes)

    def _labelled(self) -> pl.DataFrame:
        """What waited for a label that is known now; each is given once."""
        new = self._labels.read().select("key", "label")
        self._known = pl.concat([self._known, new]).unique("key", keep="last", maintain_order=True)
        found = self._waiting.join(self._known, on="key", maintain_order="left")
        self._waiting = self._waiting.join(self._known, on="key", how="anti", maintain_order="left")
        return found

    def _losses(self, found: pl.DataFrame) -> Traffic:
        squares = np.column_stack([(found[side] - found["label"]).pow(2).to_numpy() for side in SIDES])
        return Traffic(keys=found["hash"].to_numpy(), canary=found["canary"].to_numpy(), known={BRIER: squares})


def _waits(table: pl.DataFrame, keys: Keys, canary: Bools, scores: list[Floats]) -> pl.DataFrame:
    rows = {"key": table["key"], "hash": keys, "canary": canary, "live": scores[0], "release": scores[1]}
    return pl.DataFrame(rows, schema=_WAITING).filter(pl.col("key") != "")


def _both(table: pl.DataFrame, name: str) -> Floats:
    """A number of both sides, float64 [n, 2], NaN where a side was not asked."""
    return np.column_stack([_numbers(table, f"{side}.{name}") for side in SIDES])


def _numbers(table: pl.DataFrame, column: str) -> Floats:
    if column not in table.columns:
        return np.full(len(table), np.nan)
    return table[column].cast(pl.Float64).to_numpy()


def _scores(table: pl.DataFrame, side: str) -> Floats:
    """The first output of a side, float64 [n]."""
    column = f"{side}.out"
    if column not in table.columns:
        return np.full(len(table), np.nan)
    return table[column].list.first().cast(pl.Float64).to_numpy()


def _decisions(table: pl.DataFrame, side: str, release: Release) -> Floats:
    """What a side decided by its own threshold, or the likeliest class; NaN where it decided nothing."""
    scores = _scores(table, side)
    if release.variant.task == "binary":
        return np.where(np.isnan(scores), np.nan, scores >= release.threshold)
    if release.variant.task == "multiclass" and f"{side}.out" in table.columns:
        likeliest = table[f"{side}.out"].list.arg_max().cast(pl.Float64).to_numpy()
        return np.where(np.isnan(scores), np.nan, likeliest)
    return np.full(len(table), np.nan)
