"""What code in a trusted file can do while the file is opened: read, and write in the folder of that process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from headway.core.errors import EngineError
from headway.core.record import digest_of
from headway.optimization.importers import confinement
from headway.optimization.importers.models import open_model_file, subprocess_environment

ATTEMPTS = {
    "write": "open(outside / 'kept.txt', 'w')",
    "truncate": "os.truncate(outside / 'kept.txt', 0)",
    "make a file": "open(outside / 'new.txt', 'x')",
    "make a folder": "os.mkdir(outside / 'new')",
    "remove": "os.remove(outside / 'kept.txt')",
    "rename": "os.rename(outside / 'kept.txt', outside / 'new.txt')",
    "link": "os.symlink(outside / 'kept.txt', outside / 'link')",
    "change the mode": "os.chmod(outside / 'kept.txt', 0o777)",
    "change the owner": "os.chown(outside / 'kept.txt', 0, 0)",
    "set an attribute": "os.setxattr(outside / 'kept.txt', 'user.a', b'1')",
    "end another process": "os.kill(os.getppid(), 0)",
    "TCP": "socket.create_connection(('127.0.0.1', 9))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "a socket of the file system": "socket.socket(socket.AF_UNIX)",
}
PROGRAM = """
import json, os, socket, subprocess, sys
from pathlib import Path
outside, inside, attempt = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
def attempted():
    try:
        exec(attempt)
    except PermissionError:
        return "denied"
    return "done"
(inside / "own.txt").write_text("kept")
child = subprocess.run([sys.executable, "-c", "open(%r, 'a')" % str(outside / "kept.txt")], stderr=subprocess.DEVNULL)
read = (outside / "kept.txt").read_text()
print(json.dumps([read, (inside / "own.txt").read_text(), child.returncode != 0, attempted()]))
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder with a file that a confined process may only read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept.txt").write_text("text")
    (folder / "attempts.py").write_text(PROGRAM)
    return folder


def run_confined(outside: Path, attempt: str) -> list[list[object]]:
    """Run an attempt confined to a folder next to `outside`; return what could not be denied, and what it printed."""
    inside = outside.parent / "inside"
    inside.mkdir()
    command = [sys.executable, "-m", confinement.__name__, str(inside), "attempts", str(outside), str(inside), attempt]
    run = subprocess.run(command, env=subprocess_environment(str(outside)), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_confined_process_reads_and_writes_in_its_folder_alone(attempt: str, outside: Path) -> None:
    assert run_confined(outside, ATTEMPTS[attempt]) == [[], ["text", "kept", True, "denied"]]
    assert sorted(path.name for path in outside.iterdir() if path.name != "__pycache__") == ["attempts.py", "kept.txt"]
    assert (outside / "kept.txt").read_text() == "text"


class Leaves:
    """Leaves a folder behind when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


def test_a_trusted_file_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Leaves(tmp_path / "mark")))
    with pytest.raises(EngineError, match="PermissionError"):
        open_model_file(path, trust=digest_of(path.read_bytes()))
    assert not (tmp_path / "mark").exists()


class Ends:
    """Ends the process that opens it, as if it had succeeded."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os._exit, (0,))


WRITE_AND_END = r"""
import os, sys
os.write(1, b"\xff\n")
with open(sys.argv[2], "w") as answer:
    answer.write("no answer")
os._exit(0)
"""


class Writes:
    """Prints bytes that are no text, and writes something else than an answer."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exec, (WRITE_AND_END,))


@pytest.mark.slow
@pytest.mark.parametrize("made", [Ends(), Writes()])
def test_a_trusted_file_that_ends_its_process_or_writes_its_answer_is_an_error(made: object, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(made))
    with pytest.raises(EngineError, match="code in the file ended the process that opened it"):
        open_model_file(path, trust=digest_of(path.read_bytes()))


WITHOUT_LANDLOCK = """
import sys
from pathlib import Path
from headway.optimization.importers import confinement
calls = confinement._REFUSED_CALLS
confinement._REFUSED_CALLS = {machine: (number, (444,)) for machine, (number, _) in calls.items()}
confinement._deny_calls()  # children inherit that the call which makes a ruleset of Landlock fails
confinement._REFUSED_CALLS = calls
from headway.optimization.importers.models import open_model_file
for finding in open_model_file(Path(sys.argv[1]), trust=True).findings:
    print(finding.code, finding.severity, finding.message)
"""


@pytest.mark.slow
def test_a_kernel_that_does_not_confine_is_a_finding_on_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression().fit(np.eye(2), [0, 1])))
    command = [sys.executable, "-c", WITHOUT_LANDLOCK, str(path)]
    run = subprocess.run(command, env=subprocess_environment(), capture_output=True, text=True, check=True)
    assert run.stdout.startswith("E011 warn code in the trusted file could change files while it was opened")
