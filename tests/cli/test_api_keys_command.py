"""The command that makes, lists and revokes API keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headway.cli import main as cli


def run(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["api-keys", *words, "--project", str(folder)])
    assert ended.value.code == cli.PASS
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_key_is_printed_once_and_listed_by_name_until_it_is_revoked(tmp_path, capsys):
    (tmp_path / "headway.toml").touch()
    assert run(capsys, tmp_path) == "no API key exists\n  try: headway api-keys new NAME\n"
    key = run(capsys, tmp_path, "new", "billing", "--scope", "predict", "--scope", "label", "--per-s", "9").strip()
    run(capsys, tmp_path, "new", "ann", "--scope", "operate", "--burst", "3")
    listed = run(capsys, tmp_path)
    assert key.startswith("hw_") and key not in listed
    assert (
        "billing  predict, label, 9 requests/s, created 20" in listed and "ann      operate, burst 3, created" in listed
    )
    assert "API key billing is revoked" in run(capsys, tmp_path, "revoke", "billing")
    assert ", revoked 20" in run(capsys, tmp_path)


def test_scripts_read_keys_as_json(tmp_path, capsys):
    (tmp_path / "headway.toml").touch()
    created = json.loads(run(capsys, tmp_path, "new", "billing", "--json"))
    assert created["name"] == "billing" and created["key"].startswith("hw_")
    (known,) = json.loads(run(capsys, tmp_path, "--json"))["keys"].items()
    assert known[0] == "billing" and known[1]["scopes"] == ["predict"]


def test_a_key_is_throttled_and_the_throttle_is_undone(tmp_path, capsys):
    (tmp_path / "headway.toml").touch()
    run(capsys, tmp_path, "new", "eve")
    assert run(capsys, tmp_path, "throttle", "eve", "--per-s", "0.1") == "API key eve is throttled\n"
    assert "throttled to 0.1 requests/s" in run(capsys, tmp_path)
    assert run(capsys, tmp_path, "unthrottle", "eve") == "API key eve is not throttled any more\n"
    assert "throttled to" not in run(capsys, tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["api-keys", "throttle", "eve", "--project", str(tmp_path)])
    assert "a throttle needs a rate" in capsys.readouterr().err
