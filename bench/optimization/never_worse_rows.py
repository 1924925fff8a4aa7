"""The part `never_worse` of bench/optimize.py, which runs bench/never_worse.py in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from cache import HERE
from harness import Row
from tiny import is_tiny

MOST_S = 3_600


def rows() -> tuple[list[Row], list[str]]:
    """Return the rows and sentences of bench/never_worse.py, or one sentence that explains why there are none."""
    command = [sys.executable, str(HERE / "never_worse.py"), "--json", *(["--tiny"] if is_tiny() else [])]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S)
    except subprocess.TimeoutExpired:
        return [], [f"never_worse: not done in {MOST_S} s"]
    if run.returncode:
        return [], [f"never_worse: {(run.stderr.strip().splitlines() or ['no output'])[-1][:300]}"]
    found = json.loads(run.stdout)
    own = {f"{row['name']} is {row['measured']:.4g} {row['unit']}".strip() for row in found["rows"]}
    return [Row(**row) for row in found["rows"]], [sentence for sentence in found["fell_short"] if sentence not in own]
