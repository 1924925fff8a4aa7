"""Our side of bench/optimize.py: what a transform of headway makes of a model; a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np

import tiny
from headway.api.in_memory_project import InMemoryProject, create_project
from headway.core import plugins
from headway.core.errors import HeadwayError
from headway.core.variant import Variant
from headway.data.matrix import matrix
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.importers.models import import_baseline
from optimization.export import keep
from optimization.families import FAMILIES, Family
from optimization.models import opened

SAMPLE_ROWS = 5_000


def main() -> None:
    """Keep, in `place` of the first argument, what `transform` makes of the model of `family`; else say why not."""
    tiny.apply()
    asked = json.loads(sys.argv[1])
    name = asked["transform"]
    if name not in plugins.names("transform"):
        raise SystemExit(f"transform {name} is absent")
    with tempfile.TemporaryDirectory() as kept:
        laid = _laid_out(FAMILIES[asked["family"]], kept)
        try:
            keep(_made(name, laid), laid.project.blobs, Path(asked["place"]))
        except HeadwayError as reason:
            raise SystemExit(f"{name}: {reason.what}") from reason


def _laid_out(family: Family, kept: str) -> InMemoryProject:
    rows = joblib.load(family.rows) if family.rows.suffix == ".joblib" else np.load(family.rows)
    labels = np.load(family.labels)[:SAMPLE_ROWS]
    return create_project(opened(family.model), rows[:SAMPLE_ROWS], labels, folder=kept)


def _made(name: str, laid: InMemoryProject) -> Variant:
    variant = import_baseline(laid.taken, laid.rows, laid.project.blobs)
    bench = TransformContext(blobs=laid.project.blobs, sample=matrix(laid.rows.table, variant.signature))
    return load_transform(name)(variant, bench)[0]
