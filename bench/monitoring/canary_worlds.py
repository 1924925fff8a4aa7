"""Simulated traffic to a release and to live: recurring keys, keys that always fail, and rates that vary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Floats
from headway.registry.key_assignment import assign_hashes, key_hashes
from headway.registry.rollout import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Behaviour of live and of the release: rates of failing, slow and flipped predictions, and the mean loss added.

    `slower` is the share of requests that take the release 25 times as long as live, `spread` the standard deviation of
    the loss added. `swing` is how far the rates of failing and of slow requests vary about their mean, equally for both
    arms; `again` is the number of keys, 0 for one key a request.
    """

    failing: tuple[float, float] = (0.02, 0.02)
    slow: tuple[float, float] = (0.01, 0.01)
    flipped: float = 0.037
    slower: float = 0.02
    loss: float = -0.0004
    spread: float = 0.036
    swing: float = 0.8
    again: int = 4000


# Equal sides, but for the few flips of a sound release; and the worst release that is still within every limit.
ALIKE = World()
AT_LIMIT = World(failing=(0.02, 0.025), slow=(0.01, 0.02), flipped=0.05, slower=0.25, loss=0.005, swing=0.0)
HARM = World(failing=(0.02, 0.10), swing=0.0, again=0)
# Within each limit by half of it, with losses that vary as those of a retraining; and a model of 25 times the CPU, none
# of whose requests is slower than the objective.
BETTER = World(
    failing=(0.02, 0.0175), slow=(0.01, 0.005), flipped=0.025, slower=0.125, loss=-0.0025, spread=0.2, again=0
)
SLOWER = World(slower=0.8, swing=0.0, again=0)


def traffic(world: World, rng: np.random.Generator, *, share: float, count: int) -> Traffic:
    """Simulate requests in order; those of the release are answered by both arms, and labelled at once.

    Half of the failing, slow or flipped requests have keys all of whose requests do so.
    """
    population = world.again or count
    ids = (population * rng.random(count) ** 2).astype(np.int64) if world.again else np.arange(count)
    names = [f"customer-{number}" for number in range(population)]
    keys = key_hashes(names, salt=str(rng.integers(1 << 62)))[ids]
    ours = assign_hashes(keys, share)
    swing = 1 + world.swing * np.sin(np.arange(count) / 800 + rng.random() * 2 * math.pi)
    fates, dice = rng.random((4, population))[:, ids], rng.random((4, count))

    def happens(which: int, rate: float, swing: Floats) -> Floats:
        always = rate / 2
        return ((fates[which] < always) | (dice[which] < always / (1 - always) * swing)).astype(np.float64)

    loss = rng.uniform(0.2, 0.8, count)
    change = rng.normal(0, 0.55 * world.spread, population)[ids] + rng.normal(0, 0.835 * world.spread, count)
    moved = loss + world.loss + change
    known = {
        "error_rate": [happens(0, rate, swing) for rate in world.failing],
        "slow_requests": [happens(1, rate, swing) for rate in world.slow],
        "decision": [np.where(ours, 0.0, np.nan), happens(2, world.flipped, np.ones(count))],
        "latency_us": [np.where(ours, 100.0, np.nan), 100 + 2400 * happens(3, world.slower, np.ones(count))],
        "brier": [np.where(ours, loss, np.nan), np.clip(moved, 0, 1)],
    }
    return Traffic(keys=keys, canary=ours, known={name: np.column_stack(pair) for name, pair in known.items()})


def part(seen: Traffic, start: int, stop: int) -> Traffic:
    """The requests from start to stop."""
    known = {name: pair[start:stop] for name, pair in seen.known.items()}
    return Traffic(keys=seen.keys[start:stop], canary=seen.canary[start:stop], known=known)


def joined(before: Traffic, after: Traffic) -> Traffic:
    """One traffic after the other."""
    known = {name: np.concatenate([pair, after.known[name]]) for name, pair in before.known.items()}
    return Traffic(
        keys=np.concatenate([before.keys, after.keys]),
        canary=np.concatenate([before.canary, after.canary]),
        known=known,
    )
