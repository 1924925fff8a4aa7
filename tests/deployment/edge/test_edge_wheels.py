"""A server for a machine without a network: exactly the wheels that a release needs, installed and asked for a row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request

import lightgbm
import numpy as np
import pytest
from tests.deployment.edge.packages import forest_release, made_release
from tests.engines.made_forests import Shape, made, rows_for
from tests.house.source_tree import ROOT
from tests.serving.running import project

from headway.core.config import Config
from headway.core.edge import EdgePackage
from headway.core.errors import ConfigError, Refused
from headway.core.record import digest_of, write
from headway.deployment.edge import verify_package, wheel_files, write_package
from headway.deployment.edge.wheels import needed_packages
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.sign import load_publisher, load_trusted

pytestmark = pytest.mark.slow

FOREST = made(Shape(trees=6, link="sigmoid"), seed=3)
ROWS = rows_for(FOREST, 8)
VERSION = f"3.{sys.version_info.minor}"


def needed(engine: str, model: bytes, **target: str) -> set[str]:
    """Names of the packages that a server of a model needs."""
    release = made_release(model, ROWS, ROWS[:, :1], engine=engine).release
    return set(needed_packages(release, model, Config(), **{"machine": "x86_64", "python": "3.13", **target}))


def test_a_release_of_trees_needs_no_library_that_trained_it_and_no_onnxruntime():
    found = needed("trees", compile_forest(FOREST))
    assert {"headway", "numpy", "msgspec", "cryptography"} <= found
    assert not found & {"onnxruntime", "lightgbm", "scikit-learn", "pandas", "polars", "protobuf"}


@pytest.mark.services
def test_a_release_of_a_library_needs_that_library():
    booster = lightgbm.train({"verbose": -1, "num_leaves": 2}, lightgbm.Dataset(np.eye(60)[:, :5], np.arange(60.0)), 1)
    found = needed("lightgbm", booster.model_to_string().encode())
    assert {"lightgbm", "scipy"} <= found and not found & {"onnxruntime", "pandas"}


def test_a_machine_without_wheels_is_refused():
    bundle = forest_release(FOREST, ROWS)
    for machine, python in (("riscv64", "3.13"), ("x86_64", "3.13; echo"), ("x86_64", "2.7")):
        with pytest.raises(ConfigError, match="no wheels are known") as error:
            wheel_files(bundle, Config(), {}, {}, machine=machine, python=python)
        assert "--machine x86_64 or aarch64" in error.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("headway-0.1.0-cp311-abi3-linux_x86_64.whl", "not for Linux on aarch64"),
        ("headway-0.1.0-cp311-abi3-macosx_11_0_aarch64.whl", "not for Linux on aarch64"),
        ("numpy-2.4.6-cp311-cp311-linux_aarch64.whl", "not a wheel of headway"),
        ("headway.zip", "not a wheel of headway"),
    ],
)
def test_a_file_that_is_not_a_wheel_for_the_machine_is_refused(tmp_path, name, message):
    wheel = tmp_path / name
    wheel.write_bytes(b"")
    with pytest.raises(ConfigError, match=message):
        wheel_files(forest_release(FOREST, ROWS), Config(), {}, {}, machine="aarch64", python="3.13", wheel=wheel)


@pytest.mark.services
def test_the_wheels_serve_a_row_in_an_empty_environment_without_a_network(tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT], check=True)
    settings = project(tmp_path / "project")
    release = forest_release(FOREST, ROWS, name="delays")
    registry = ModelRegistry.from_config(settings)
    digest = registry.publish(release.release, release.files)
    registry.point("delays@live", digest, UpdateReason(who="ann", why="a test", verdict=release.release.verdict))
    bundle, trusted = registry.resolve("delays@live"), load_trusted(registry.trusted_keys)
    (wheel,) = tmp_path.glob("headway-*.whl")
    files = wheel_files(
        bundle, settings, trusted, registry.operators(), machine=os.uname().machine, python=VERSION, wheel=wheel
    )
    registry.state.close()
    box = tmp_path / "box"
    write_package(bundle, files, folder=box, publisher=load_publisher(registry.publisher_key))
    row = [0.5, -1.0, 2.0, 0.0, 1.5]
    offline = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PYTHON": sys.executable}
    subprocess.run(["sh", "install.sh"], cwd=box, env=offline, check=True, capture_output=True)
    verify_package(box, trusted)
    headway = box / "venv/bin/headway"
    verified = subprocess.run(
        [headway, "verify", ".", "--project", "."], cwd=box, env=offline, check=True, capture_output=True, text=True
    )
    assert "verified: " in verified.stdout
    command = [headway, "serve", "./release", "--project", ".", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=box, env=offline, stdout=subprocess.PIPE, text=True) as server:
        try:
            listening = json.loads(server.stdout.readline())
            columns = [
                {"name": f"column {index}", "shape": [1], "datatype": "FP64", "data": [value]}
                for index, value in enumerate(row)
            ]
            request = urllib.request.Request(
                f"{listening['addresses'][0]}/v2/models/delays/infer", json.dumps({"inputs": columns}).encode()
            )
            with urllib.request.urlopen(request) as response:
                answer = json.load(response)
        finally:
            server.terminate()
    expected = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.array([row]))
    assert answer["outputs"][0]["data"][0] == pytest.approx(expected[0, 0], rel=1e-12)


def test_a_folder_of_files_that_became_a_link_is_refused(tmp_path):
    settings = project(tmp_path / "project")
    registry = ModelRegistry.from_config(settings)
    bundle, box = registry.resolve("flights@live"), tmp_path / "box"
    write_package(bundle, {"wheels/a.whl": b"a"}, folder=box, publisher=load_publisher(registry.publisher_key))
    trusted = load_trusted(registry.trusted_keys)
    registry.state.close()
    assert set(verify_package(box, trusted).package.files) == {"wheels/a.whl"}
    (box / "wheels").rename(tmp_path / "elsewhere")
    (box / "wheels").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="is missing"):
        verify_package(box, trusted)


@pytest.mark.parametrize("name", ["../a.whl", "/etc/a", "a/../b", "a/b/c", "a//b", "", "."])
def test_a_file_outside_of_the_folder_is_refused(tmp_path, name):
    settings = project(tmp_path / "project")
    registry = ModelRegistry.from_config(settings)
    package = EdgePackage(name="flights", release="sha256:0", headway="0", files={name: digest_of(b"a")})
    signed = load_publisher(registry.publisher_key).sign(write(package))
    trusted = load_trusted(registry.trusted_keys)
    registry.state.close()
    box = tmp_path / "box"
    box.mkdir()
    (box / "edge.json").write_bytes(signed.content)
    (box / "edge.sig").write_bytes(signed.signature)
    (tmp_path / "a.whl").write_bytes(b"a")
    with pytest.raises(Refused):
        verify_package(box, trusted)
