"""The scripts for shell completion."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from headway.cli import main as cli
from headway.core import plugins

pytestmark = pytest.mark.slow


def completion(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion", *words])
    assert ended.value.code == cli.PASS
    return capsys.readouterr().out


def completed(script: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of these words with the function that the script defines."""
    line = shlex.join(words)
    script_line = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _headway; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", script_line], check=True, capture_output=True, text=True).stdout.split()


def test_bash_completes_commands_options_and_choices(tmp_path, capsys):
    script = tmp_path / "headway.bash"
    script.write_text(completion(capsys, "bash"))

    assert set(completed(script, "headway", "")) >= set(map(cli.command_name, plugins.names("command")))
    assert completed(script, "headway", "opt") == ["optimize"]
    assert "--project" in completed(script, "headway", "check", "--")
    assert completed(script, "headway", "rollout", "roll") == ["rollback"]


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_other_shells_get_a_script_that_lists_the_commands(shell, capsys):
    script = completion(capsys, shell)
    assert [name for name in plugins.names("command") if cli.command_name(name) not in script] == []


def test_completion_is_installed_with_a_line_in_the_startup_file_of_bash(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = Path(json.loads(completion(capsys, "bash", "--install", "--json"))["path"])

    assert path.is_relative_to(tmp_path) and "complete -F _headway" in path.read_text()
    assert str(path) in (tmp_path / ".bashrc").read_text()
