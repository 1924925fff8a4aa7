"""What bench/optimize.py runs in other environments and stores: trained networks, and searches of headway."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cache import HERE, Absent, folder, home, made
from optimization.datasets import rows_directory

MOST_S = 300


def net_of(name: str) -> Path:
    """Return the folder of a trained network, with rows and labels."""
    key = [(HERE / "optimization/nets.py").read_text("utf-8"), str(rows_directory()), str(home("nets"))]
    make = {"name": name, "rows": str(rows_directory())}
    return made(
        folder(f"model-{name}", of=key),
        lambda directory: run("optimization.nets", "nets", {**make, "directory": str(directory)}),
    )


def taken_of(name: str) -> Path:
    """Return the folder of a pretrained model of a package, with rows and labels."""
    code = [
        (HERE / f"optimization/{module}.py").read_text("utf-8") for module in ("pretrained", "sentences", "pictures")
    ]
    return made(
        folder(f"model-{name}", of=[*code, str(home("nets"))]),
        lambda directory: run("optimization.pretrained", "nets", {"name": name, "directory": str(directory)}),
    )


def searched(order: dict[str, Any], directory: Path, *, home: str = "") -> dict[str, Any]:
    """Search variants of a model into `directory` (see optimization/run_search.py), and return the result.

    The order has `name` and `opener` of a family, the folder of its `model`, and `data`: files of rows and labels.
    """
    run("optimization.run_search", home, {**order, "directory": str(directory)})
    result: dict[str, Any] = json.loads((directory / "result").read_text("utf-8"))
    return result


def compiled(family: str, transforms: Sequence[str], directory: Path, *, trees: int = 0) -> Path:
    """Return the result of the first transform that works on a family's model, or on its first `trees`.

    Raises Absent with the reasons of all.
    """
    refusals = []
    for name in transforms:
        try:
            order = {"family": family, "transform": name, "trees": trees, "directory": str(directory)}
            run("optimization.compile_model", "", order)
            return directory
        except Absent as reason:
            refusals.append(str(reason))
    raise Absent("; ".join(refusals))


def run(module: str, at: str, order: dict[str, Any]) -> None:
    """Run `main` of a file of bench/ in an environment; raises Absent with the last line of its output."""
    paths = os.pathsep.join(map(str, (HERE, HERE.parent / "src")))
    command = [str(home(at)), "-c", f"import {module}; {module}.main()", json.dumps(order)]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=MOST_S
        )
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{module} took more than {MOST_S} s") from error
    if done.returncode:
        raise Absent((done.stderr.strip().splitlines() or ["no word"])[-1][:300])
