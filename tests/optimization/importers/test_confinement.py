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


def run_confined(outside: Path, *arguments: str, module: str = "attempts") -> Path:
    """Run a module of `outside` confined to a folder next to it; return that folder, with what it printed."""
    inside = outside.parent / "inside"
    inside.mkdir()
    command = [sys.executable, "-m", confinement.__name__, str(inside), module, *arguments]
    run = subprocess.run(command, env=subprocess_environment(str(outside)), capture_output=True, text=True, check=True)
    (inside / "printed").write_text(run.stdout)
    return inside


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_confined_process_reads_and_writes_in_its_folder_alone(attempt: str, outside: Path) -> None:
    inside = run_confined(outside, str(outside), str(outside.parent / "inside"), ATTEMPTS[attempt])
    assert json.loads((inside / confinement.ALLOWED).read_text()) == []
    assert json.loads((inside / "printed").read_text()) == ["text", "kept", True, "denied"]
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
