"""The rows `history.*` of bench/loop.py: commands on a store whose pointer was moved 10,000 times.

Each command is a process of its own, and its figure is the wall time. A fresh machine has never seen the store: it has
the trusted keys, and neither a checkpoint nor the last seen updates. `history.move_over_first` is the time to move a
pointer at the end of the chain, over that at its beginning.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from msgspec.structs import replace

from harness import Result, Row, shown
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate
from headway.registry.chain import checkpoint_file, last_seen_file
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import load_publisher
from headway.storage.state.sqlite import FILE
from serving.models import by_trees, point, project, publish

NAME = "bench"
MOVES, RUNS, MOVED, TREES, GOAL_S, GOAL_RATIO = 10_000, 5, 20, 5, 1.0, 1.5
TINY = {"MOVES": 600, "RUNS": 1, "MOVED": 2}
_INSERT = "INSERT INTO moves (name, pointer, number, content, signature) VALUES (?, ?, ?, ?, ?)"


def rows() -> Result:
    """Measure `verify`, `history` and a move at the end of a long chain."""
    with tempfile.TemporaryDirectory(prefix="headway-bench-") as directory:
        folder, model = Path(directory), by_trees(TREES)
        registry = project(folder, {NAME: model})
        digest = publish(registry, NAME, model)
        first_s = _move_s(registry, digest)
        _append(folder, registry)
        verify, history = ("verify", f"{NAME}@live"), ("history",)
        unknown_s = _command_s(folder, verify)  # verifies every signature, and saves a checkpoint
        last_s = _move_s(registry, digest)  # signs it
        found = [
            _timed("history.verify_s", [_command_s(folder, verify) for _ in range(RUNS)]),
            _timed("history.history_s", [_command_s(folder, history) for _ in range(RUNS)]),
            _timed("history.verify_fresh_s", [_fresh_s(folder, registry, verify) for _ in range(RUNS)]),
            shown("history.verify_all_s", unknown_s, "s", "every signature, without a checkpoint"),
            Row(
                name="history.move_over_first",
                measured=last_s / first_s,
                unit="",
                target=f"<= {GOAL_RATIO:g}",
                ok=last_s <= GOAL_RATIO * first_s,
                against=f"the first moves of the store, {1e3 * first_s:.1f} ms each",
            ),
        ]
        registry.state.close()
    return found, []


def _timed(name: str, seconds: Sequence[float]) -> Row:
    measured = median(seconds)
    against = f"the complete command at {MOVES:,} pointer moves"
    return Row(name=name, measured=measured, unit="s", target=f"<= {GOAL_S:g}", ok=measured <= GOAL_S, against=against)


def _move_s(registry: ModelRegistry, digest: str) -> float:
    """Return the median time of a move."""
    seconds = []
    for _ in range(MOVED):
        began = time.perf_counter()
        point(registry, NAME, digest)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def _append(folder: Path, registry: ModelRegistry) -> None:
    """Append signed moves up to their number, in one transaction: each alone would wait for the disk."""
    publisher, end = load_publisher(registry.publisher_key), registry.state.updates()[-1]
    moves = []
    for number in range(len(registry.state.updates()) + 1, MOVES + 1):
        last = read(PointerUpdate, end.content)
        end = publisher.sign(write(replace(last, number=number, previous=digest_of(end.content))))
        moves.append((NAME, "live", number, end.content, end.signature))
    with closing(sqlite3.connect(folder / ".headway" / FILE)) as db, db:
        db.executemany(_INSERT, moves)


def _fresh_s(folder: Path, registry: ModelRegistry, words: Sequence[str]) -> float:
    for file in (checkpoint_file(registry.trusted_keys), last_seen_file(registry.trusted_keys)):
        file.unlink(missing_ok=True)
    return _command_s(folder, words)


def _command_s(folder: Path, words: Sequence[str]) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-c", "from headway.cli.main import main; main()", *words, "--project", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
