from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from headway.cli import main as cli
from headway.storage.state.sqlite import Sqlite


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    with closing(Sqlite(tmp_path / ".headway")) as state:
        state.save("rollout", b"one", name="flights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["store", *words])
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, out, err


def test_the_check_of_a_folder_lists_what_it_can_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == cli.PASS
    assert "state at .headway: compare and swap passed: an update that does not follow the last one is refused" in out
    assert run(capsys, "check", "--json")[0] == cli.PASS


def test_a_folder_that_cannot_be_opened_fails_the_check_with_a_hint(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".headway/state.sqlite").write_bytes(b"not a database" * 100)
    code, out, _ = run(capsys)
    assert code == cli.FAIL
    assert "open failed: the state cannot be read or written" in out and "  try: restore it from a backup" in out
    assert "lease not run" in out


def test_a_migration_says_what_was_copied_and_what_to_set(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "migrate", ".headway", "copy")
    assert code == cli.PASS
    assert out == 'copy holds what .headway holds: 1 records\nnext: [project] state = "copy"\n'
    assert "0 pointer updates" in err
    assert json.loads(run(capsys, "migrate", ".headway", "copy", "--json")[1])["records"] == 1


def test_a_migration_without_two_addresses_is_a_usage_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "migrate", ".headway")
    assert code == cli.USAGE
    assert "a migration needs two addresses" in err and "headway store migrate FROM TO" in err
