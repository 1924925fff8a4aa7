"""A command of another package runs as headway's own do; a broken one harms no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.cli import main as cli


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


def test_a_command_of_another_package_is_listed_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run("greet") == cli.PASS
    assert capsys.readouterr().out == "hello, flights\n"
    assert run("--help") == cli.PASS
    shown = capsys.readouterr().out
    assert "greet" in shown and "the command of the tests" in shown


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with a command that is not there, and one whose package cannot be imported."""
    metadata = tmp_path / "broken-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        "[headway.command]\nabsent = broken_absent\nsick = broken_package.command\n", encoding="utf-8"
    )
    package = tmp_path / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('it is sick')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["absent", "sick"])
def test_a_broken_command_is_named_and_the_others_work(
    broken: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--help") == cli.PASS
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{name} (cannot be read: " in shown and "greet" in shown and "optimize" in shown
    assert run("plugins") == cli.PASS
    assert run(name) == cli.USAGE
