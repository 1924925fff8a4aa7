"""The shell commands of the page on devices run from top to bottom, in a project of the name that the page has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.deployment.edge.packages import forest_release
from tests.engines.made_forests import Shape, made, rows_for
from tests.house.pages import code_blocks
from tests.ports import free_port
from tests.serving.running import project

from headway.registry.model_registry import ModelRegistry, UpdateReason

pytestmark = pytest.mark.services  # make, a compiler, libsodium, clang and curl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the project, its live release, and a row as CSV and as a request."""
    settings = project(tmp_path / "headway-demo")
    toml = tmp_path / "headway-demo/headway.toml"
    toml.write_text('[project]\nname = "flight-delays"\n' + toml.read_text())
    forest = made(Shape(trees=5), seed=1)
    bundle = forest_release(forest, rows_for(forest, 9), name="flight-delays")
    registry = ModelRegistry.from_config(settings)
    digest = registry.publish(bundle.release, bundle.files)
    reason = UpdateReason(who="ann", why="a test", verdict=bundle.release.verdict)
    registry.point("flight-delays@live", digest, reason)
    registry.state.close()
    names = [field.name for field in bundle.release.variant.signature.inputs]
    (tmp_path / "rows.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in names]
    (tmp_path / "request.json").write_text(json.dumps({"inputs": inputs}))
    return tmp_path


def test_the_commands_of_the_page_run_from_top_to_bottom(folder: Path) -> None:
    commands = "\n".join(code_blocks("docs/how-to/edge.md", "sh")).replace("8080", str(free_port()))
    ended = subprocess.run(
        ["bash", "-euc", "trap 'kill $(jobs -p)' EXIT\n" + commands],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    score = float((folder / "scores.csv").read_text().splitlines()[1].split(",")[0])
    assert f'"data":[{score!r}]' in ended.stdout and "verified: 6 files" in ended.stdout
    assert (folder / "browser/flight_delays.wasm").is_file()
