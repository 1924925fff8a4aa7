"""Erasures by two machines that share their records, at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.monitoring import rollouts

from headway.monitoring.erasure.proofs import load_erasures

ROUNDS = 5
ERASE = """
import sys
from pathlib import Path
from headway.core.errors import LeaseHeld
from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.registry.project import open_project

project = open_project(Path(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    try:
        print("done", erase(project, ErasureRequest(older="90d", who="ann")).number, flush=True)
    except LeaseHeld as error:
        print("held", error.what, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["file", pytest.param("postgresql", marks=pytest.mark.services)])
def test_two_machines_that_erase_at_once_leave_one_chain_of_proofs(request, tmp_path, state):
    address = f"file://{tmp_path}/state" if state == "file" else request.getfixturevalue(state)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, tmp_path / "state"):
        folder.mkdir()
    toml = f'{rollouts.TOML}[store]\nstate = "{address}"\n[personal]\nkey = "keys/personal.key"\n'
    project = rollouts.project(first, toml=toml)
    rollouts.live(project, rollouts.release())
    shutil.copytree(first, second)
    done = 0
    with ExitStack() as stack:
        erasers = [stack.enter_context(_eraser(folder)) for folder in (first, second)]
        stack.callback(_kill, erasers)
        assert [eraser.stdout.readline() for eraser in erasers] == ["ready\n"] * 2
        for _ in range(ROUNDS):
            for eraser in erasers:
                eraser.stdin.write("now\n")
                eraser.stdin.flush()
            answers = sorted(eraser.stdout.readline() for eraser in erasers)
            numbers = [int(answer.split()[1]) for answer in answers if answer.startswith("done ")]
            others = answers[len(numbers) :]
            assert numbers == list(range(done + 1, done + 1 + len(numbers))) and numbers
            assert all("erase of flights is already being done by " in answer for answer in others)
            done += len(numbers)
    assert [erasure.number for erasure in load_erasures(project)] == list(range(1, done + 1))
    project.state.close()


def _eraser(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ERASE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _kill(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
