"""`headway export edge`: a signed folder of C, which `headway verify` checks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.deployment.edge.packages import forest_release
from tests.engines.made_forests import Shape, made, rows_for
from tests.serving.running import project

from headway.cli.main import main
from headway.registry.model_registry import ModelRegistry, UpdateReason

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Run `headway` in a project whose live release is a forest; return exit code, output and messages."""
    settings = project(tmp_path)
    forest = made(Shape(trees=5), seed=1)
    bundle = forest_release(forest, rows_for(forest, 9), name="delays")
    registry = ModelRegistry.from_config(settings)
    digest = registry.publish(bundle.release, bundle.files)
    registry.point("delays@live", digest, UpdateReason(who="ann", why="a test", verdict=bundle.release.verdict))
    registry.state.close()
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return command


def test_a_package_is_written_signed_and_verified(run):
    code, out, _ = run("export", "edge", "device", "--release", "delays@live", "--json")
    printed = json.loads(out)
    assert code == 0 and {"delays.c", "delays.h"} <= set(printed["files"])
    assert sorted(path.name for path in Path("device").iterdir()) == sorted(
        [*printed["files"], "edge.json", "edge.sig"]
    )
    code, out, _ = run("verify", "device")
    assert code == 0 and printed["package"] in out and printed["release"] in out and "verified: " in out
    (Path("device") / "delays.o").write_bytes(b"built there")
    assert run("verify", "device", "--json")[0] == 0
    assert run("export", "edge", "device", "--release", "delays@live")[0] == 0
    assert (Path("device") / "delays.o").exists()


@pytest.mark.parametrize("name", ["delays.c", "edge.json", "edge.sig"])
def test_a_changed_or_missing_file_is_refused(run, name):
    run("export", "edge", "device", "--release", "delays@live")
    file = Path("device") / name
    file.write_bytes(file.read_bytes().replace(b"a", b"b", 1))
    assert run("verify", "device")[0] == 1
    if name != "edge.json":
        file.unlink()
        code, _, error = run("verify", "device")
        assert code == 1 and f"{name} is missing" in error


def test_a_folder_of_something_else_is_left_alone(run):
    Path("mine").mkdir()
    (Path("mine") / "notes.txt").write_text("mine")
    code, _, error = run("export", "edge", "mine", "--release", "delays@live")
    assert code == 2 and "something else than an edge package is there" in error
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_a_release_that_cannot_be_exported_is_refused_with_a_hint(run):
    code, _, error = run("export", "edge", "device", "--release", "flights@live")
    assert code == 2 and "engine 'echo'" in error and "  try: " in error and not Path("device").exists()


def test_a_missing_compiler_to_webassembly_has_a_hint_of_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    code, _, error = run("export", "edge", "browser", "--format", "wasm", "--release", "delays@live")
    assert code == 2 and "no compiler to WebAssembly is installed" in error and "try: pip install ziglang" in error
    assert not Path("browser").exists()


@pytest.mark.services
def test_a_webassembly_package_replaces_one_of_c_and_is_verified(run):
    assert run("export", "edge", "device", "--release", "delays@live")[0] == 0
    code, out, _ = run("export", "edge", "device", "--format", "wasm", "--release", "delays@live")
    assert code == 0 and "next: python -m http.server --directory device" in out
    found = sorted(path.name for path in Path("device").iterdir())
    assert found == ["delays.js", "delays.wasm", "edge.json", "edge.sig"]
    assert run("verify", "device")[0] == 0
    (Path("device") / "delays.wasm").write_bytes(b"other")
    code, _, error = run("verify", "device")
    assert code == 1 and "delays.wasm was changed" in error
