"""The wheel and the sdist hold what is needed and nothing else, and the base install works.

Everything is installed without a compiler. The releases are made here: a server need not be able to make one.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.batch.scoring import LIVE, number_table, score_file, scoring_project, write_table
from tests.engines.graphs import softmax
from tests.house.environments import Environment, build, copy_sources, create
from tests.house.pages import read
from tests.house.source_tree import ROOT, fail_with, tracked

pytestmark = pytest.mark.slow
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = SETTINGS["tool"]["setuptools"]["package-data"]["headway"]
# Built if there is a compiler; without one, the install skips it.
COMPILED = [module["name"].replace(".", "/") for module in SETTINGS["tool"]["setuptools"].get("ext-modules", [])]
BASE_MB = 250
DOUBLE = 11  # of ONNX
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")


@dataclass(frozen=True)
class Distributions:
    """A wheel and the sdist that it was built from; `folder` is the folder of the build."""

    sdist: Path
    wheel: Path
    folder: Path

    def unpacked(self, file: Path) -> Mapping[str, bytes]:
        """Return each file of the wheel or the sdist; paths of the sdist without their first folder."""
        if file == self.wheel:
            with zipfile.ZipFile(file) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        with tarfile.open(file) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            return {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build the sdist of this repository, and the wheel from that sdist alone."""
    folder = tmp_path_factory.mktemp("distributions")
    venv.create(folder / "venv", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv"), "install", "--quiet", "--no-input"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), "setuptools"], check=True)
    # What a distribution holds does not depend on optimization, which takes most of the time of a build.
    compiler = folder / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n', encoding="utf-8")
    compiler.chmod(0o755)
    builder = ["env", f"CC={compiler}", str(folder / "venv/bin/python")]
    sdist = build(copy_sources(folder / "source"), folder / "sdist", "sdist", builder=builder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    return Distributions(sdist, build(source, folder / "wheel", "wheel", builder=builder), folder)


@pytest.fixture(scope="module")
def base(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the wheel without extras."""
    return create(tmp_path_factory.mktemp("base"), str(distributions.wheel))


def packaged_files() -> set[str]:
    """Return the files that the wheel must hold: Python, and the data that pyproject.toml names."""
    own = [path.removeprefix("src/") for path in tracked() if path.startswith("src/headway/")]
    return {path for path in own if path.endswith(".py") or any(fnmatch(path, f"headway/{data}") for data in DATA)}


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(distributions: Distributions) -> None:
    names = {name for name in distributions.unpacked(distributions.wheel) if ".dist-info/" not in name}
    assert {name.rpartition(".")[2] for name in packaged_files()} >= {"py", "typed", "pyi", "toml", "html", "css"}
    assert packaged_files() <= names
    compiled = {name.partition(".")[0] for name in names - packaged_files()}
    assert compiled == (set(COMPILED) if shutil.which("cc") else set())


def test_the_wheel_carries_the_licence_and_can_be_installed_by_every_python_from_3_11(
    distributions: Distributions,
) -> None:
    files = distributions.unpacked(distributions.wheel)
    (licence,) = (content for name, content in files.items() if name.endswith(".dist-info/licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert "-cp311-abi3-" in distributions.wheel.name or distributions.wheel.name.endswith("-py3-none-any.whl")


def test_the_sdist_holds_what_a_build_needs_and_no_test(distributions: Distributions) -> None:
    names = set(distributions.unpacked(distributions.sdist))
    needed = {path for path in tracked() if path.startswith("src/")} | {"LICENSE", "README.md", "pyproject.toml"}
    assert needed <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/")) or name.endswith(".pyc")]


def test_no_distribution_names_a_folder_of_this_machine(distributions: Distributions) -> None:
    folders = [str(folder).encode() for folder in (ROOT, distributions.folder)]
    for file in (distributions.wheel, distributions.sdist):
        files = distributions.unpacked(file).items()
        fail_with(f"{file.name}: {name}" for name, text in files if any(folder in text for folder in folders))


@pytest.mark.long
@pytest.mark.parametrize("words", [("--help",), ("doctor",), ("plugins",)])
def test_the_base_install_answers(base: Environment, words: tuple[str, ...]) -> None:
    ended = base.run("headway", *words)
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout


@pytest.mark.long
def test_the_base_install_is_as_small_as_the_install_page_says(
    base: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    megabytes = importlib.import_module("sizes").megabytes(base.packages)
    (stated,) = re.findall(r"^\| `headway` \|.*\| (\d+) MB \|$", read("docs/install.md"), re.MULTILINE)
    assert megabytes <= BASE_MB and abs(megabytes - int(stated)) <= 10


@pytest.mark.long
def test_the_base_install_scores_a_file_to_the_same_bytes(base: Environment, tmp_path: Path) -> None:
    settings = scoring_project(tmp_path / "project", content=softmax(3, DOUBLE), task="multiclass")
    rows = write_table(number_table(500), tmp_path / "rows.csv")
    score_file(settings, rows, tmp_path / "here.csv", "key")
    options = ("--project", tmp_path / "project", "--keep", "key")
    ended = base.run("headway", "predict", LIVE, rows, tmp_path / "there.csv", *options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


@pytest.mark.long
def test_the_base_install_serves_a_release(base: Environment, tmp_path: Path) -> None:
    settings = scoring_project(tmp_path / "project", content=softmax(3, DOUBLE), task="multiclass")
    rows = number_table(4)
    score_file(settings, write_table(rows, tmp_path / "rows.csv"), tmp_path / "here.csv")
    columns = [{"name": name, "shape": [4], "datatype": "FP64", "data": rows[name].to_list()} for name in "abc"]
    with base.running("headway", "serve", LIVE, "--project", tmp_path / "project", "--port", "0") as first_line:
        address = first_line.split()[2]
        body = json.dumps({"inputs": columns}).encode()
        with urllib.request.urlopen(f"{address}/v2/models/flights/infer", body) as answer:
            (output,) = json.load(answer)["outputs"]
    scored = [line.split(",")[1:4] for line in (tmp_path / "here.csv").read_text().splitlines()[1:]]
    assert output["data"] == [float(value) for row in scored for value in row]


@pytest.mark.long
def test_the_sdist_installs_without_a_compiler(distributions: Distributions, tmp_path: Path) -> None:
    environment = create(tmp_path, str(distributions.sdist))
    ended = environment.run("headway", "doctor")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not [*(environment.packages / "headway").rglob("*.so")]
    assert ("no C compiler" in ended.stdout) is bool(COMPILED)


def exists(python: str) -> bool:
    """Check whether this Python exists; the shim of a version manager may exist without one."""
    path = shutil.which(python)
    return path is not None and subprocess.run([path, "-c", "import venv"], check=False).returncode == 0


@pytest.mark.long
def test_the_wheel_works_on_every_python_of_this_machine(distributions: Distributions, tmp_path: Path) -> None:
    modules = "\n".join(f"import {name.replace('/', '.')}" for name in COMPILED)
    for python in [name for name in PYTHONS if exists(name)] or [sys.executable]:
        environment = create(tmp_path / Path(python).name, str(distributions.wheel), python=python)
        assert environment.run("headway", "doctor").returncode == 0
        assert environment.run("python", "-c", modules).returncode == 0


@pytest.mark.long
def test_the_demo_runs_without_a_compiler(distributions: Distributions, tmp_path: Path) -> None:
    ended = create(tmp_path, f"{distributions.wheel}[demo]").run("headway", "demo", timeout_s=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "headway-demo/report.html").is_file()
