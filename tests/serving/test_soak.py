"""bench/soak.py in its short form: real servers, replaced and killed under load, give no wrong answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests.house.source_tree import ROOT

# Coverage would measure inside the servers, and slow them down.
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
SHORT = ("--minutes", "0.33", "--swap-s", "2", "--kill-s", "6", "--growth", "0.5")


@pytest.mark.long
def test_no_answer_is_wrong_while_releases_are_replaced_and_workers_are_killed() -> None:
    command = [sys.executable, str(ROOT / "bench/soak.py"), "--json", *SHORT]
    run = subprocess.run(command, env=CLEAN, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert {row["name"]: row["ok"] for row in json.loads(run.stdout)["rows"]}["soak.crossed"]
