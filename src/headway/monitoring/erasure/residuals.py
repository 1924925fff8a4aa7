"""Residuals of an erased key: where its bytes remain in the store, file by file, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from headway.core.erasure import Residual
from headway.monitoring.erasure import files
from headway.storage import quarantined, segments

OTHER_KEYS = "it is part of other keys there"
PART_OF_WORD = "its characters are part of longer words or numbers there"
WRITTEN_SINCE = "it was requested, labeled or written again since"
WHY = {
    "releases": "a signed release that can be rolled back to contains it",
    "blobs": "an earlier model or release contains it",
    "state.sqlite": "a record contains it that verdicts and signatures cover",
}
UNKNOWN_FILE = "headway does not write here"
DATABASE = "state.sqlite"
# Closing a file of a database releases all POSIX locks of the process on it, SQLite's too. The state is open here, so its
# files are read by another process. Keys are passed by stdin, which no process list shows.
_COUNT = """
import json, sys
from pathlib import Path
from headway.monitoring.erasure.files import count_occurrences
paths, keys = json.load(sys.stdin)
print(json.dumps([[count_occurrences(Path(path), keys), count_occurrences(Path(path), keys, alone=True)] for path in paths]))
"""


def find_residuals(state: Path, keys: Sequence[str]) -> tuple[Residual, ...]:
    """Search every file of the store for the keys: byte by byte, and quarantined rows value by value."""
    files = [path for path in sorted(state.rglob("*")) if path.is_file() and not _is_database_file(state, path)]
    found = [residual for path in files if (residual := _residual_of_file(state, path, keys))]
    return tuple(_merge_residuals([*found, *_residuals_of_database(state, keys)]))


def _is_database_file(state: Path, path: Path) -> bool:
    return path.parent == state and path.name.startswith(DATABASE)


def _residuals_of_database(state: Path, keys: Sequence[str]) -> list[Residual]:
    paths = [str(path) for path in sorted(state.glob(f"{DATABASE}*"))]
    asked = json.dumps([paths, list(keys)])
    run = subprocess.run([sys.executable, "-c", _COUNT], input=asked, check=True, stdout=subprocess.PIPE, text=True)
    counts: list[tuple[int, int]] = json.loads(run.stdout)
    return [
        Residual(location=DATABASE, times=times, why=WHY[DATABASE] if alone else PART_OF_WORD, is_other=not alone)
        for times, alone in counts
        if times
    ]


def _residual_of_file(state: Path, path: Path, keys: Sequence[str]) -> Residual | None:
    parts = path.relative_to(state).parts
    packed = parts[0] == quarantined.FOLDER and path.suffix == ".parquet"
    times = files.count_quarantined(path, keys) if packed else files.count_occurrences(path, keys)
    if not times:
        return None
    if packed:
        return Residual(location="/".join(parts[:2]), times=times, why=WRITTEN_SINCE)
    if path.suffix == segments.SUFFIX or parts[0] == "online":
        place, is_other = "/".join(parts[:2]).partition(".sqlite")[0], not _is_value(path, keys)
        return Residual(location=place, times=times, why=OTHER_KEYS if is_other else WRITTEN_SINCE, is_other=is_other)
    if not files.count_occurrences(path, keys, alone=True):
        return Residual(location=parts[0], times=times, why=PART_OF_WORD, is_other=True)
    return Residual(location=parts[0], times=times, why=WHY.get(parts[0], UNKNOWN_FILE))


def _is_value(path: Path, keys: Sequence[str]) -> bool:
    """Tell whether a key is a complete value in a file, and not a part of others, or two adjacent ones."""
    if path.suffix != segments.SUFFIX:
        return files.count_in_table(path.with_name(path.name.partition(".")[0] + ".sqlite"), keys) > 0
    table = files.read_segment(path)
    texts = [] if table is None else table.select(pl.col(pl.String)).get_columns()
    return any(column.is_in(keys).any() for column in texts)


def _merge_residuals(found: Sequence[Residual]) -> list[Residual]:
    """Merge residuals of the same location and reason."""
    times: dict[tuple[str, str, bool], int] = {}
    for residual in found:
        case = (residual.location, residual.why, residual.is_other)
        times[case] = times.get(case, 0) + residual.times
    return [
        Residual(location=place, times=n, why=why, is_other=is_other) for (place, why, is_other), n in times.items()
    ]
