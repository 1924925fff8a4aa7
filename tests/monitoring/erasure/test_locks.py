"""An erasure reads every file of the store without releasing the locks that SQLite holds on the state."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest
from tests.monitoring.erasure.test_erase import SECRET, World

TRY = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("held")
"""


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_an_erasure_does_not_release_locks_of_this_process_on_the_state(world):
    path = world.state / "state.sqlite-of-a-test"
    with path.open("w+b") as file:
        file.write(SECRET.encode())
        file.flush()
        fcntl.lockf(file, fcntl.LOCK_EX)
        found = world.erase_rows_of(key=SECRET)
        run = subprocess.run([sys.executable, "-c", TRY, os.fspath(path)], capture_output=True, text=True)
    assert run.stdout == "held\n", run.stderr
    assert [residual.location for residual in found.residuals] == ["state.sqlite"]
