"""The fuzz test of bench/fuzz_server.py: no 5xx, no crash and no hang, and other callers get correct answers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.house.source_tree import ROOT


@pytest.mark.slow
def test_five_thousand_malformed_requests_find_nothing():
    command = [sys.executable, "bench/fuzz_server.py", "--requests", "5000", "--seed", "8", "--json"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    measured = {row["name"]: row["measured"] for row in result["rows"]}
    assert not [row for row in result["fell_short"] if "longest_stall_ms" not in row]
    assert measured["fuzz.requests"] == 5_000 and measured["fuzz.rss_growth_mb"] <= 64
    assert 0 < measured["fuzz.longest_stall_ms"] <= 100  # the bound of 20 holds on a quiet machine
    answered = {name.rpartition(".")[2] for name in measured if "answered" in name}
    assert {"200", "400", "401", "404", "405", "421", "INVALID_ARGUMENT", "OK"} <= answered
