"""Rows of value replay: injected skews that are found and named, false ones, and the time of 100,000 requests."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from tests.features.skews import INJECTED, World, arguments, injected, make_world

from harness import Result, Row
from headway.core.value_replay import ViewReplay
from headway.features.replay import replay_view

WORLDS, REQUESTS, MANY = 20, 1_000, 100_000
TINY = {"WORLDS": 1, "REQUESTS": 400, "MANY": 2_000}
LIMIT_S = 5.0


def rows() -> Result:
    """Inject each kind of skew into the log of each world, and replay logs without one."""
    worlds = [make_world(seed, requests=REQUESTS) for seed in range(WORLDS)]
    tries = [(world, name) for world in worlds for name in INJECTED]
    named = sum(_first_kind(_replayed(world, name)) == INJECTED[name][0] for world, name in tries)
    false = sum(bool(replay_view(world.log(), **arguments(world)).skews) for world in worlds)
    how = f"{len(INJECTED)} skews of 8 kinds x {WORLDS} worlds, {REQUESTS:,} requests each, by the kind of the largest"
    large = make_world(0, requests=MANY, stations=300, days=60)
    slowest, took = max(((name, _seconds(large, name)) for name in INJECTED), key=lambda pair: pair[1])
    clean = f"{WORLDS} worlds, {REQUESTS:,} requests each"
    return [
        Row(
            name="replay.found",
            measured=named / len(tries),
            unit="",
            target="= 1",
            ok=named == len(tries),
            against=how,
        ),
        Row(name="replay.false", measured=false, unit="", target="= 0", ok=false == 0, against=clean),
        Row(
            name="replay.seconds",
            measured=took,
            unit="s",
            target=f"<= {LIMIT_S:g}",
            ok=took <= LIMIT_S,
            against=f"{MANY:,} requests, the slowest of {len(INJECTED)} skews: {slowest}",
        ),
    ], []


def _replayed(world: World, name: str) -> ViewReplay:
    return replay_view(injected(world, name), **arguments(world))


def _first_kind(found: ViewReplay) -> str:
    return found.skews[0].kind if found.skews else ""


def _seconds(world: World, name: str) -> float:
    log = injected(world, name)
    began = time.perf_counter()
    replay_view(log, **arguments(world))
    return time.perf_counter() - began
