"""Rows of the embedded stores, SQLite and files, against headway before it had any others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from cache import Absent
from harness import Result, Row
from headway.evaluation.statistics.percentiles import median_interval
from serving import before

COMMIT = "b18ac603"
SOURCE = Path(__file__).parents[2] / "src"
TURNS, REPEATS = 12, 300
TINY = {"TURNS": 2, "REPEATS": 3}
KINDS = {
    "append": "append an update",
    "save": "save a record",
    "latest": "read the last record",
    "put": "store a blob of 10 kB",
    "get": "read a blob of 10 kB",
}
_RUN = """
import json, sys, tempfile, time
from pathlib import Path
from headway.core.contracts import Signed
from headway.core.plugins import load_blobs, load_state
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate

repeats, found, previous = int(sys.argv[1]), {}, ""

def timed(name, work):
    times = []
    for number in range(1, repeats + 1):
        began = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - began)
    found[name] = sorted(times)[repeats // 2] * 1e6

def append(number):
    global previous
    update = PointerUpdate(name="flights", pointer="live", number=number, release="sha256:r", previous=previous,
                           at="2026-11-28T00:00:00.000+00:00", who="bench", why="bench/stores.py")
    content = write(update)
    assert state.append(Signed(content=content, signature=b"signature"))
    previous = digest_of(content)

with tempfile.TemporaryDirectory() as folder:
    state, blobs = load_state("sqlite")(Path(folder)), load_blobs("files")(Path(folder) / "blobs")
    digests = []
    timed("append", append)
    timed("save", lambda number: state.save("bench", str(number).encode() * 500, name="flights"))
    timed("latest", lambda number: state.latest("bench", name="flights"))
    timed("put", lambda number: digests.append(blobs.put(str(number).encode().ljust(10_000))))
    timed("get", lambda number: blobs.get(digests[number - 1]))
    state.close()
print(json.dumps(found))
"""


def over_before() -> Result:
    """Time the operations of the embedded stores, in turns with the code of an earlier commit."""
    try:
        earlier = before.checkout(COMMIT) / "src"
    except Absent as error:
        return [], [f"embedded: {error}"]
    turns = [(_medians_us(SOURCE), _medians_us(earlier)) for _ in range(TURNS)]
    rows = []
    for kind, words in KINDS.items():
        ratios = np.array([theirs[kind] / ours[kind] for ours, theirs in turns])
        ratio = median_interval(kind, ratios, of="turns")
        ours, theirs = (float(np.median([turn[arm][kind] for turn in turns])) for arm in (0, 1))
        times = f"ours {ours:,.0f} us, commit {COMMIT} {theirs:,.0f} us"
        turned = f"ratio {ratio.low:.2f} to {ratio.high:.2f}, {TURNS} turns of {REPEATS} in processes of their own"
        against = f"{words}: {times}; {turned}"
        row = Row(
            name=f"embedded.{kind}",
            measured=ratio.value,
            unit="x",
            target=">= 1 within its interval",
            ok=ratio.high >= 1,
            against=against,
        )
        rows.append(row)
    return rows, []


def _medians_us(source: Path) -> dict[str, float]:
    """Return the median time of each operation, in microseconds, by the code in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", _RUN, str(REPEATS)]
    ran = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found
