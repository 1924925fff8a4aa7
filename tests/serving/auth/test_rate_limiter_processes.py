"""Rate limits over processes that share nothing but an array."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PER_S, BURST, SECONDS = 500, 40, 4
STEP_NS = 10_000
# Every process sends at the same times of one clock, which is not the machine's: however they are scheduled, each time
# is tried by all of them.
WORKER = f"""
import sys
import numpy as np
from headway.serving.auth.authenticator import RateLimiter, rate_limit
file, worker, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
limiter = RateLimiter(np.memmap(file, dtype=np.int64, mode="r+", shape=(workers, 2)), worker=worker)
limit = rate_limit({PER_S}, {BURST})
print("ready", flush=True)
sys.stdin.readline()
times = range(10**12, 10**12 + {SECONDS * 10**9}, {STEP_NS})
print(sum(limiter.wait_ns(1, limit, now_ns=now) == 0 for now in times))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_together_reach_the_limit(tmp_path: Path, workers: int) -> None:
    file = tmp_path / "shared"
    np.zeros((workers, 2), dtype=np.int64).tofile(file)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(file), str(number), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]
    assert [process.stdout.readline() for process in started] == ["ready\n"] * workers
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    passed = sum(int(process.communicate(timeout=60)[0]) for process in started)
    allowed = BURST + PER_S * SECONDS
    # Two processes that accept in the same microsecond count one request: most often while the burst lasts.
    assert allowed - 1 <= passed <= 1.03 * allowed + BURST
