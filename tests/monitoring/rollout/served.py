"""A project with a live and a second release, and a log that is written as servers write it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from tests.monitoring import rollouts
from tests.serving.flushed_log import FlushedLog

from headway.core.rollout import Plan
from headway.monitoring import rollout as control
from headway.registry.key_assignment import assign_key
from headway.serving.loading import load_model
from headway.serving.telemetry.prediction_log import LogEntry

LATENCY_NS = 1_000_000


class Served:
    """The project, `first` live and `second` published; requests are logged at the stage that the rollout stands at."""

    def __init__(self, folder: Path, **fields: object) -> None:
        self.project = rollouts.project(folder)
        self.state = self.project.config.state
        rules = (rollouts.FLIPS, rollouts.BRIER)
        self.first = rollouts.live(self.project, rollouts.release(made_at="1", rules=rules))
        self.second = rollouts.publish(self.project, rollouts.release(made_at="2", rules=rules, **fields))
        self.opened = [
            load_model(self.project.registry.resolve(f"flights@{digest[7:]}")) for digest in (self.first, self.second)
        ]
        self.keys = 0

    def start(self, plan: Plan = rollouts.SHORT) -> None:
        """Begin the rollout of `second`."""
        control.start_rollout(self.project, self.second, plan=plan, who="ann")

    def serve(self, n: int, *, live=0.7, release=0.7, failed: bool = False, release_ns: int = LATENCY_NS) -> list[str]:
        """Log `n` requests of new keys, each answered with these numbers, by the release after `release_ns`."""
        rollout = control.latest_rollout(self.project)
        keys = [f"k{self.keys + number}" for number in range(n)]
        self.keys += n
        log = FlushedLog(self.state)
        for key, number in zip(keys, log.number(n), strict=True):
            its = bool(rollout.share) and assign_key(key, rollout.salt, rollout.share)
            paired = int(its or not rollout.share)
            log.add(self.entry(0, number, key, live, stage=rollout.stage, paired=paired, answered=int(not its)))
            if paired:
                value = None if failed else release
                entry = self.entry(1, number, key, value, stage=rollout.stage, paired=1, answered=int(its))
                log.add(entry._replace(latency_ns=np.array([release_ns])))
        log.close()
        return keys

    def entry(self, arm: int, number: int, key: str, value: float | None, **how: int) -> LogEntry:
        """Return the answer of an arm (0 is live) to a request, as servers log it."""
        rows = None if value is None else np.array([[value, value]])
        return LogEntry(
            release=self.opened[arm],
            at_us=time.time_ns() // 1000,
            requests=np.array([number]),
            keys=[key],
            sizes=[1],
            latency_ns=np.array([LATENCY_NS]),
            role=arm,
            rows=rows,
            answers=None if rows is None else rows[:, :1],
            seen=(),
            **how,
        )

    def moves(self) -> list[tuple[str, str]]:
        """Return every update: the pointer, and whether to `first`, `second`, nothing or another release."""
        names = {self.first: "first", self.second: "second", "": "nothing"}
        return [(move.pointer, names.get(move.release, move.release)) for move in self.project.registry.history()]

    def model_of(self, digest: str) -> Path:
        """The file of a release's model."""
        return self.project.registry.folder / "flights" / digest.removeprefix("sha256:") / "model.echo"

    def close(self) -> None:
        """Let go of the state."""
        self.project.state.close()
        self.project.registry.state.close()
