"""What bench/optimize.py runs in other environments and keeps: networks trained, and searches of headway."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cache import HERE, Absent, folder, home, made
from optimization.datasets import place_of_rows

MOST_S = 300


def net_of(name: str) -> Path:
    """The folder of a trained network, with the rows and labels to ask it."""
    key = [(HERE / "optimization/nets.py").read_text("utf-8"), str(place_of_rows()), str(home("nets"))]
    make = {"name": name, "rows": str(place_of_rows())}
    return made(
        folder(f"model-{name}", of=key), lambda place: run("optimization.nets", "nets", {**make, "place": str(place)})
    )


def taken_of(name: str) -> Path:
    """The folder of a model that comes trained in a package, with the rows and labels to ask it."""
    code = [(HERE / f"optimization/{each}.py").read_text("utf-8") for each in ("pretrained", "sentences", "pictures")]
    return made(
        folder(f"model-{name}", of=[*code, str(home("nets"))]),
        lambda place: run("optimization.pretrained", "nets", {"name": name, "place": str(place)}),
    )


def searched(order: dict[str, Any], place: Path, *, home: str = "") -> dict[str, Any]:
    """Let headway search for forms of a model; `place` then holds them (see optimization/run_search.py); says what it found.

    The order has `name` and `opener` of a family, the folder of its `model`, and `data`: files of rows and labels.
    """
    run("optimization.run_search", home, {**order, "place": str(place)})
    said: dict[str, Any] = json.loads((place / "said").read_text("utf-8"))
    return said


def compiled(family: str, transforms: Sequence[str], place: Path) -> Path:
    """What the first of these transforms that works makes of a family's model; raises Absent with what each says."""
    refusals = []
    for name in transforms:
        try:
            run("optimization.compile_model", "", {"family": family, "transform": name, "place": str(place)})
            return place
        except Absent as reason:
            refusals.append(str(reason))
    raise Absent("; ".join(refusals))


def run(module: str, at: str, order: dict[str, Any]) -> None:
    """Run `main` of a file of bench/ by the Python of an environment; raises Absent with the last line that it said."""
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
