"""Read a rollout's stage from the prediction log: the answers of both arms to the same requests, and their labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats
from headway.core.config import Config
from headway.core.release import Release
from headway.core.rollout import Rollout
from headway.core.variant import LIBRARY_THRESHOLD, MULTILABEL
from headway.evaluation.statistics.sequential import Keys
from headway.monitoring.prediction_log import LabelReader, StageRequests, count_rollout_traffic
from headway.monitoring.scored_rows import possible_labels
from headway.registry.key_assignment import assign_hashes, key_hashes
from headway.registry.rollout import DECISION, LATENCY, Traffic
from headway.serving.settings.slo import SloSection
from headway.storage.addresses import log_root

__all__ = ["PairedTraffic", "count_rollout_traffic"]
BRIER = "brier"
ARMS = ("live", "release")
_WAITING = {"key": pl.String, "hash": pl.UInt64, "canary": pl.Boolean, "live": pl.Float64, "release": pl.Float64}


class PairedTraffic:
    """Reader of what is new in a rollout's stage; `requests` and `of_release` count what was read."""

    def __init__(self, config: Config, rollout: Rollout, live: Release, release: Release) -> None:
        self.requests = self.of_release = 0
        self._rollout = rollout
        self._slow_us = config[SloSection].p99_ms * 1000
        self._releases = (live, release)
        self._config = config
        root = log_root(config, rollout.name)
        self._new = StageRequests(root, rollout)
        self._labels = LabelReader(root, rollout.name)
        self._known = pl.DataFrame(schema={"key": pl.String, "label": pl.Float64})
        self._waiting = pl.DataFrame(schema=_WAITING)

    @property
    def n_lost(self) -> int:
        """Number of rows that the log lost in this stage, by what is known now."""
        return self._new.n_lost

    def read(self) -> Iterator[Traffic]:
        """Yield the new traffic: requests in the order of their answers, then those whose labels have arrived."""
        log_root(self._config, self._rollout.name)
        table = self._new.read()
        if self._rollout.share and not table.is_empty():
            table = table.filter(pl.col("key") != "")  # live answers all of them, so they are not randomized
        if not table.is_empty():
            yield self._requests(table)
        labeled = self._newly_labeled()
        if not labeled.is_empty():
            yield self._losses(labeled)

    def _requests(self, table: pl.DataFrame) -> Traffic:
        keys = self._hashes(table)
        share = self._rollout.share
        canary = assign_hashes(keys, share) if share else np.zeros(len(keys), dtype=np.bool_)
        status, latency = (_both_arms(table, name) for name in ("status", "latency_us"))
        scores = [_scores(table, arm) for arm in ARMS]
        self.requests += len(table)
        self.of_release += int((~np.isnan(status[:, 1])).sum())
        if self._releases[1].variant.task == "binary":
            self._waiting = pl.concat([self._waiting, _awaiting_label(table, keys, canary, scores)])
        known = {
            "error_rate": status,
            "slow_requests": np.where(np.isnan(latency), np.nan, latency > self._slow_us),
            LATENCY: np.where(status == 0, latency, np.nan),
            DECISION: np.column_stack([_decisions(table, *arm) for arm in zip(ARMS, self._releases, strict=True)]),
        }
        return Traffic(keys=keys, canary=canary, known=known)

    def _hashes(self, table: pl.DataFrame) -> Keys:
        """Return the hash of each key; a request without one is independent of all others."""
        hashes = key_hashes(table["key"].to_list(), self._rollout.salt)
        return np.where((table["key"] == "").to_numpy(), table["request"].to_numpy().astype(np.uint64), hashes)

    def _newly_labeled(self) -> pl.DataFrame:
        """Return waiting predictions whose label is known now, each once."""
        new = self._labels.read().select("key", "label")
        new = new.filter(pl.Series(possible_labels(new["label"].to_numpy(), self._releases[1].variant)))
        self._known = pl.concat([self._known, new]).unique("key", keep="last", maintain_order=True)
        found = self._waiting.join(self._known, on="key", maintain_order="left")
        self._waiting = self._waiting.join(self._known, on="key", how="anti", maintain_order="left")
        return found

    def _losses(self, found: pl.DataFrame) -> Traffic:
        squares = np.column_stack([(found[arm] - found["label"]).pow(2).to_numpy() for arm in ARMS])
        return Traffic(keys=found["hash"].to_numpy(), canary=found["canary"].to_numpy(), known={BRIER: squares})


def _awaiting_label(table: pl.DataFrame, keys: Keys, canary: Bools, scores: list[Floats]) -> pl.DataFrame:
    rows = {"key": table["key"], "hash": keys, "canary": canary, "live": scores[0], "release": scores[1]}
    return pl.DataFrame(rows, schema=_WAITING).filter(pl.col("key") != "")


def _both_arms(table: pl.DataFrame, name: str) -> Floats:
    """Return a number of both arms, float64 [n, 2], NaN if an arm got no request."""
    return np.column_stack([_numbers(table, f"{arm}.{name}") for arm in ARMS])


def _numbers(table: pl.DataFrame, column: str) -> Floats:
    if column not in table.columns:
        return np.full(len(table), np.nan)
    return table[column].cast(pl.Float64).to_numpy()


def _scores(table: pl.DataFrame, arm: str) -> Floats:
    """Return the first output of an arm, float64 [n]."""
    column = f"{arm}.out"
    if column not in table.columns:
        return np.full(len(table), np.nan)
    return table[column].list.first().cast(pl.Float64).to_numpy()


def _decisions(table: pl.DataFrame, arm: str, release: Release) -> Floats:
    """Return the decision of an arm by its own threshold, or the most probable class; NaN if it decided nothing.

    Equal sets of several labels are equal numbers.
    """
    scores = _scores(table, arm)
    if release.variant.task == "binary":
        return np.where(np.isnan(scores), np.nan, scores >= release.threshold)
    if release.variant.task == "multiclass" and f"{arm}.out" in table.columns:
        likeliest = table[f"{arm}.out"].list.arg_max().cast(pl.Float64).to_numpy()
        return np.where(np.isnan(scores), np.nan, likeliest)
    if release.variant.task == MULTILABEL and f"{arm}.out" in table.columns:
        is_label = (pl.element() >= LIBRARY_THRESHOLD).cast(pl.Int8).cast(pl.String)
        sets = table[f"{arm}.out"].list.eval(is_label).list.join("")
        return np.where(np.isnan(scores), np.nan, sets.hash().cast(pl.Float64).to_numpy())
    return np.full(len(table), np.nan)
