"""A click in a real browser rolls back two servers under load, and no request fails; bench/dashboard.py measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.browser import chromium

pytestmark = [pytest.mark.slow, pytest.mark.services]
BENCH = Path(__file__).parents[2] / "bench"
# The small form of the benchmark: two servers, 100 requests a second for two seconds.
MEASURE = """
import json, tempfile, tiny
from pathlib import Path
import dashboard_rollback
tiny.start()
with tempfile.TemporaryDirectory() as folder:
    print(json.dumps(dashboard_rollback.measure(Path(folder))))
"""


def test_a_click_takes_the_release_from_every_server_and_no_request_fails() -> None:
    assert chromium()
    run = subprocess.run([sys.executable, "-c", MEASURE], cwd=BENCH, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seconds, failed, answered = json.loads(run.stdout.splitlines()[-1])
    assert seconds >= 0 and failed == 0 and answered >= 100
