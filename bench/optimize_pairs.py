"""The rows of bench/never_worse.py for bench/optimize.py, measured by a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys

from harness import Row
from optimize_cache import HERE

MOST_S = 900


def rows(name: str) -> tuple[list[Row], list[str]]:
    """Its rows and its sentences, or one that says why there are none."""
    command = [sys.executable, str(HERE / "never_worse.py"), "--json"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S)
    except subprocess.TimeoutExpired:
        return [], [f"{name}: not done in {MOST_S} s"]
    if run.returncode:
        return [], [f"{name}: {(run.stderr.strip().splitlines() or ['no word'])[-1][:300]}"]
    found = json.loads(run.stdout)
    own = {f"{row['name']} is {row['measured']:.4g} {row['unit']}".strip() for row in found["rows"]}
    return [Row(**row) for row in found["rows"]], [each for each in found["fell_short"] if each not in own]
