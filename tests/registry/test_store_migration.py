"""A store that moves from a folder to PostgreSQL and back, by the command, with its process killed in between."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from releases import BACK, FILES, passed, register, release
from tests.house.pages import code_blocks

from headway.cli.doctor import diagnose_project
from headway.core.config import load
from headway.registry.model_registry import ModelRegistry
from headway.registry.project import open_project
from headway.storage.state.postgresql import Postgresql
from headway.storage.state.sqlite import Sqlite

pytestmark = [pytest.mark.services, pytest.mark.slow]
RECORDS, MOVES = 400, 30
DATABASE, BUCKET = "postgresql://headway@db.example/headway", "s3://models/flights"
PROJECT = """
[project]
name = "flights"
state = "store"

[trust]
trusted_keys = "trust/trusted_keys.txt"
publisher_key = "keys/publisher.pem"
"""


@pytest.fixture
def filled(tmp_path: Path) -> ModelRegistry:
    """A project whose pointer moved often between two releases, with many records."""
    (tmp_path / "headway.toml").write_text(PROJECT)
    ours = register(tmp_path)
    digests = [ours.publish(release(made_at=when), FILES) for when in ("May", "June")]
    for digest in digests:
        ours.point("flights@live", digest, passed())
    for number in range(MOVES):
        ours.point("flights@live", digests[number % 2], BACK)
    for number in range(RECORDS):
        ours.state.save("rollout", b"%d" % number, name="flights")
    for _ in range(5):
        ours.state.count_evaluation("flights", "sha256:a")
    return ours


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "headway.cli", "store", *words, "--project", str(folder), "--json"]


def migrate(folder: Path, source: str, target: str) -> dict[str, int]:
    run = subprocess.run(command(folder, "migrate", source, target), check=True, stdout=subprocess.PIPE, text=True)
    counts: dict[str, int] = json.loads(run.stdout)
    return counts


def test_a_migration_to_postgresql_that_is_killed_again_and_again_ends_with_all_of_it(
    filled: ModelRegistry, postgresql: str, tmp_path: Path
) -> None:
    source = str(tmp_path / "store")
    with closing(Postgresql(postgresql)) as target:
        for share in (0.1, 0.5):
            with subprocess.Popen(command(tmp_path, "migrate", source, postgresql), stderr=subprocess.DEVNULL) as run:
                _wait_for_records(target, int(share * RECORDS), run)
                run.kill()
        assert len(target.records("rollout")) < RECORDS
        done = migrate(tmp_path, source, postgresql)
        assert (done["updates"], done["records"], done["evaluations"]) == (MOVES + 2, RECORDS, 5)
        assert target.updates() == filled.state.updates()
        assert target.all_evaluations() == filled.state.all_evaluations()
        assert target.records("rollout") == filled.state.records("rollout")


def test_the_commands_of_the_page_move_a_store(filled: ModelRegistry, postgresql: str, s3: str, tmp_path: Path) -> None:
    (commands,) = code_blocks("docs/stores.md", "sh")
    for written, used in ((".headway", "store"), (DATABASE, postgresql), (BUCKET, s3)):
        assert written in commands
        commands = commands.replace(written, used)
    for line in commands.splitlines():
        words = [sys.executable, "-m", "headway.cli", *line.split()[1:]]
        run = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


def _wait_for_records(target: Postgresql, count: int, run: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while len(target.records("rollout")) < count:
        assert run.poll() is None and time.monotonic() < deadline


def test_the_project_goes_on_at_its_new_address_and_returns(
    filled: ModelRegistry, postgresql: str, tmp_path: Path
) -> None:
    history = filled.history()
    migrate(tmp_path, str(tmp_path / "store"), postgresql)
    (tmp_path / "headway.toml").write_text(f'{PROJECT}\n[store]\nstate = "{postgresql}"\n')
    moved = open_project(tmp_path)
    assert moved.registry.history() == history
    update = moved.registry.point("flights@live", history[0].release, BACK)
    assert update.number == MOVES + 3
    moved.state.close()
    done = migrate(tmp_path, postgresql, str(tmp_path / "store"))
    assert done["updates"] == MOVES + 3
    with closing(Sqlite(load(tmp_path).state)) as back:
        assert len(back.updates()) == MOVES + 3


def test_the_check_of_a_database_passes_and_names_what_fails(
    filled: ModelRegistry, postgresql: str, tmp_path: Path
) -> None:
    checked = [("state", "passed")] * 5 + [("blobs", "passed")] * 3
    for address, code, expected in (
        (postgresql, 0, checked),
        (f"{postgresql}_absent", 1, [("state", "failed"), *[("state", "not run")] * 4, *checked[5:]]),
    ):
        (tmp_path / "headway.toml").write_text(f'{PROJECT}\n[store]\nstate = "{address}"\n')
        run = subprocess.run(command(tmp_path, "check"), check=False, stdout=subprocess.PIPE, text=True)
        found = json.loads(run.stdout)
        assert [(check["role"], check["outcome"]) for check in found] == expected
        assert run.returncode == code
        assert found[0]["address"] == address


def test_the_doctor_names_the_database(filled: ModelRegistry, postgresql: str, tmp_path: Path) -> None:
    migrate(tmp_path, str(tmp_path / "store"), postgresql)
    (tmp_path / "headway.toml").write_text(f'{PROJECT}\n[store]\nstate = "{postgresql}"\n')
    (state,) = [found for found in diagnose_project(tmp_path) if found.what == "state"]
    assert f"{MOVES + 2} pointer updates at {postgresql}" in state.message
