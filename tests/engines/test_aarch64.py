"""The kernels for aarch64 answer what they answer here, to the bit but for the sign of NaN: every recorded call."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT

pytestmark = pytest.mark.services

SOURCES = ROOT / "src/headway/engines"
DRIVER = ROOT / "tests/engines/kernel_driver.c"
# As pyproject.toml builds the extensions.
FLAGS = ["-O3", "-g0", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{SOURCES}"]
KERNELS = ("trees", "dense", "text")
KERNEL_TESTS = (
    *("test_trees_engine.py", "test_catboost_categories.py", "test_dense_engine.py", "test_text_kernel.py"),
    "test_text_pipelines.py",
)
PORTABLE = 0
# The level of this machine whose answers NEON gives: it adds forests in order, and fuses products as AVX2 does.
NEON, LIKE_NEON = 1, {"trees": 0, "dense": 1, "text": 1}


def run(*command: str | Path, **variables: str) -> str:
    found = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert found.returncode == 0, f"{found.stdout[-2000:]}{found.stderr[-2000:]}"
    return found.stdout


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run the tests of the kernels, and record the calls."""
    folder = tmp_path_factory.mktemp("vectors")
    files = [f"tests/engines/{name}" for name in KERNEL_TESTS]
    plugin = ["-p", "no:cacheprovider", "-p", "tests.engines.kernel_vectors"]
    run(sys.executable, "-m", "pytest", "-q", *plugin, *files, KERNEL_VECTORS=str(folder))
    yield folder
    shutil.rmtree(folder)  # some hundred megabytes


def compare(driver: list[Path | str], vectors: Path, *, level: int, expected: int) -> None:
    """Run a driver at a level, and compare with the recorded level `expected`."""
    summary = run(*driver, vectors, str(level), str(expected)).splitlines()[-1].split()
    models, calls, numbers, differences = (int(word) for word in summary[::2])
    assert models and calls and numbers
    assert differences == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_aarch64_gives_the_answers_of_this_machine_to_the_bit(kernel: str, vectors: Path, tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    run("aarch64-linux-gnu-gcc", *FLAGS, "-static", f"-DKERNEL_{kernel.upper()}", DRIVER, "-lm", "-o", driver)
    compare(["qemu-aarch64", driver], vectors / kernel, level=PORTABLE, expected=PORTABLE)
    compare(["qemu-aarch64", driver], vectors / kernel, level=NEON, expected=LIKE_NEON[kernel])


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_processor_that_fuses_products_changes_no_portable_answer(kernel: str, vectors: Path, tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    run("cc", *FLAGS, "-march=native", f"-DKERNEL_{kernel.upper()}", DRIVER, "-lm", "-o", driver)
    compare([driver], vectors / kernel, level=PORTABLE, expected=PORTABLE)
