"""Test every installed command."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from headway.cli import main as cli
from headway.core import plugins

COMMANDS = plugins.names("command")
# They ask for no project, or make one; `doctor` says that there is none.
WITHOUT_PROJECT = {"completion", "demo", "doctor", "init", "plugins", "scan"}
# Words that a command cannot do without.
ASKED = {
    "access": ("7",),
    "compare": ("onnxruntime", "m@live"),
    "verify": ("m@live",),
    "predict": ("m@live", "rows.csv", "scores.csv"),
    "export": ("kubernetes", "server.yaml"),
    "scan": ("model.onnx",),
}


def parameters(name: str) -> dict[str, inspect.Parameter]:
    command, _, _ = cli.app().parse_args([cli.command_name(name), *ASKED.get(name, ())], exit_on_error=False)
    return dict(inspect.signature(command).parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_its_help_describes_it_and_each_of_its_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([cli.command_name(name), "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == cli.PASS
    assert len(plugins.describe("command", name)) > 20
    assert f"Usage: headway {cli.command_name(name)}" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_a_usage_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([cli.command_name(name), "--no-such-flag"])
    assert ended.value.code == cli.USAGE
    assert "--no-such-flag" in "".join(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_it_takes_json(name: str) -> None:
    assert parameters(name)["json"].default is False


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in WITHOUT_PROJECT])
def test_outside_a_project_it_names_the_folder_it_searched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main([cli.command_name(name), *ASKED.get(name, ())])
    assert ended.value.code == cli.USAGE
    assert f"no headway.toml here\n  at: {tmp_path}\n" in capsys.readouterr().err
