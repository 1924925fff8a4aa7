"""Rate limits over processes that share nothing but an array."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# The burst is most of a second's requests, so no request is lost where a busy machine stops every process for a while.
PER_S, BURST, SECONDS = 500, 400, 1.0
WORKER = f"""
import sys, time
import numpy as np
from headway.serving.auth.authenticator import RateLimiter, rate_limit
file, worker, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
limiter = RateLimiter(np.memmap(file, dtype=np.int64, mode="r+", shape=(workers, 2)), worker=worker)
limit = rate_limit({PER_S}, {BURST})
print("ready", flush=True)
sys.stdin.readline()
began, passed = time.monotonic_ns(), 0
while (now := time.monotonic_ns()) < began + {int(SECONDS * 1e9)}:
    passed += limiter.wait_ns(1, limit, now_ns=now) == 0
print(passed, began, now)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_together_reach_exactly_the_limit(tmp_path: Path, workers: int) -> None:
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
    output = [process.communicate(timeout=30)[0].split() for process in started]
    passed, began, ended = zip(*[map(int, line) for line in output], strict=True)
    allowed = BURST + PER_S * (max(ended) - min(began)) / 1e9
    assert 0.97 * allowed - 1 <= sum(passed) <= 1.03 * allowed + 1
