"""The Python packages of an image: those of the base install, compiled the same way each time."""

from __future__ import annotations

import importlib.util
import marshal
import sys

import pytest
from tests.deployment.layouts import small_packages

from headway.core.errors import ConfigError, PluginError
from headway.deployment.python_packages import find_packages, stage

TAG = sys.implementation.cache_tag


@pytest.mark.slow
def test_an_image_holds_the_base_install_and_nothing_else():
    names = {package.name for package in find_packages()}
    assert {"headway", "numpy", "onnxruntime", "msgspec", "uvloop", "httptools", "cryptography"} <= names
    assert not names & {"polars", "scikit-learn", "pytest", "lightgbm"}


@pytest.mark.slow
def test_an_extra_adds_its_packages():
    added = {package.name for package in find_packages(["names"])} - {package.name for package in find_packages()}
    assert added == {"names"}


def test_an_absent_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(PluginError, match=r"the image needs the package '(openvino|nncf)'") as error:
        find_packages(["openvino"])
    assert error.value.hint == "pip install 'headway[openvino]'"


def test_an_extra_that_headway_does_not_have_is_an_error():
    with pytest.raises(ConfigError, match="the installed headway has no extra 'labs'") as error:
        find_packages(["labs"])
    assert "lab, " in error.value.hint


@pytest.mark.slow
def test_files_of_headway_are_those_that_run():
    (own,) = (package for package in find_packages() if package.name == "headway")
    assert "headway/serving/process.py" in own.files and "headway/py.typed" in own.files
    assert not any(path.endswith((".c", ".h", ".pyc")) for path in own.files)
    assert not any("/tests/" in path for package in find_packages() for path in package.files)


@pytest.mark.slow
def test_compiled_code_is_the_same_each_time_and_names_its_path_in_the_image(tmp_path):
    first = stage(small_packages(), tmp_path / "first", path_in_image="/opt/lib")
    second = stage(small_packages(), tmp_path / "second", path_in_image="/opt/lib")
    assert {path: file.read_bytes() for path, file in first.items()} == {
        path: file.read_bytes() for path, file in second.items()
    }
    compiled = first[f"packaging/__pycache__/version.{TAG}.pyc"].read_bytes()
    assert compiled[:4] == importlib.util.MAGIC_NUMBER and compiled[4] == 1  # by hash, and not checked
    assert marshal.loads(compiled[16:]).co_filename == "/opt/lib/packaging/version.py"
