"""Benchmark suite: what `make test` takes, with all processes that it starts.

CPU minutes are those that the kernel counts for ended children, so other programs on the machine change them little.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from harness import Result, Row, run_parts, shown
from tiny import is_tiny

ROOT = Path(__file__).parent.parent
COMMAND = ["make", "test"]
TINY = {"COMMAND": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/core/test_errors.py"]}
MAX_CPU_MINUTES = 18


def rows() -> Result:
    """Run the tests once, and count the CPU time of all children."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    after, minutes = resource.getrusage(resource.RUSAGE_CHILDREN), (time.monotonic() - began) / 60
    cpu_minutes = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    n_passed = sum(int(count) for count in re.findall(r"(\d+) passed", run.stdout))
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
    short = [f"failed: {', '.join(failed) or run.stdout[-300:]}"] if run.returncode else []
    limit, tests = f"<= {MAX_CPU_MINUTES}", f"{n_passed:,} tests passed"
    is_met = is_tiny() or cpu_minutes <= MAX_CPU_MINUTES
    return [
        Row(name="test.cpu_minutes", measured=cpu_minutes, unit="min", target=limit, ok=is_met, against=tests),
        shown("test.minutes", minutes, "min", "with what else ran on the machine"),
    ], short


if __name__ == "__main__":
    run_parts(__doc__, {"test": rows})
