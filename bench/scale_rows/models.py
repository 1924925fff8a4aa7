"""How a store grows with models and releases: CPU of reads and moves of pointers, and what polling costs a database."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from harness import Result, Row, shown
from headway.core.plugins import load_state
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from serving.models import by_trees, point, project
from store_rows import servers
from store_rows.pointers import update

MODELS, RELEASES, CALLS = (10, 100, 1000), 10, 9
TREES, POLLS = 5, 5000
TINY = {"MODELS": (2, 4), "RELEASES": 2, "CALLS": 1, "POLLS": 20}


def pointers() -> Result:
    """Return the milliseconds of CPU of a read, a move and the history, with more and more models in one store."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        register = project(Path(folder), {"bench": by_trees(TREES)})
        bundle = register.resolve("bench@live")
        for made, models in pairwise((0, *MODELS)):
            _release(register, bundle, range(made, models))
            how = f"{models:,} models with {models * RELEASES:,} releases; median of {CALLS}"
            found += [shown(f"pointer.{step}_ms.{models}", ms, "CPU ms", how) for step, ms in _steps(register, models)]
            size = sum(path.stat().st_size for path in Path(folder, ".headway").glob("*.sqlite*"))
            found.append(shown(f"pointer.database_mb.{models}", size / 1e6, "MB", how))
        register.state.close()
    return found, []


def _release(register: ModelRegistry, bundle: Bundle, models: range) -> None:
    for number, release in itertools.product(models, range(RELEASES)):
        copy = replace(bundle.release, name=f"m{number}", made_at=str(release))
        point(register, f"m{number}", register.publish(copy, dict(bundle.files)))


def _steps(register: ModelRegistry, models: int) -> list[tuple[str, float]]:
    name = f"m{models - 1}"
    digest = register.resolve(f"{name}@live").digest
    return [
        ("head", _cpu_ms(lambda: register.head(f"{name}@live"))),
        ("move", _cpu_ms(lambda: point(register, name, digest))),
        ("history", _cpu_ms(lambda: register.history(name))),
    ]


def _cpu_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(CALLS):
        began = time.process_time()
        run()
        times.append(1000 * (time.process_time() - began))
    return median(times)


def polls() -> Result:
    """Return the CPU that PostgreSQL spends on a poll of a worker: the last update, rollout and list of API keys."""
    with servers.postgresql() as server:
        address = server.create_database()
        with closing(load_state("postgresql")(address)) as state, server.connect() as connection:
            state.append(update(1, ""))
            query = "SELECT pid FROM pg_stat_activity WHERE datname = %s"
            pids = [pid for (pid,) in connection.execute(query, (address.rpartition("/")[2],))]
            before, began = _cpu_s(pids), time.process_time()
            for _ in range(POLLS):
                state.last()
                state.latest("rollout", name="flights")
                state.latest("key_list", name="flights")
            ours, theirs = time.process_time() - began, _cpu_s(pids) - before
    how = f"{POLLS:,} polls of one pointer; the worker spends {1e6 * ours / POLLS:.0f} us of CPU"
    return [shown("poll.database_us", 1e6 * theirs / POLLS, "CPU us", how)], []


def _cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds that processes have used."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")
