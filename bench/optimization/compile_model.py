"""Apply a transform of headway to a model for bench/optimize.py, in a separate process."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from msgspec.structs import replace

import tiny
from headway.api.in_memory_project import InMemoryProject, create_project
from headway.core import plugins
from headway.core.errors import HeadwayError
from headway.core.plugins import load_engine
from headway.core.variant import Variant
from headway.data.matrix import matrix
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.importers.models import import_baseline
from optimization.export import save_artifact
from optimization.families import FAMILIES, Family
from optimization.models import load_model

SAMPLE_ROWS = 5_000


def main() -> None:
    """Store in `directory` what `transform` makes of the model of `family`, or print why it cannot.

    If `trees` is not 0, of the first trees of a boosted model alone.
    """
    tiny.apply()
    order = json.loads(sys.argv[1])
    name = order["transform"]
    if name not in plugins.names("transform"):
        raise SystemExit(f"transform {name} is absent")
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepare_project(FAMILIES[order["family"]], folder)
        try:
            save_artifact(
                _transformed(name, prepared, order["trees"]), prepared.project.blobs, Path(order["directory"])
            )
        except HeadwayError as reason:
            raise SystemExit(f"{name}: {reason.what}") from reason


def _prepare_project(family: Family, folder: str) -> InMemoryProject:
    rows = joblib.load(family.rows) if family.rows.suffix == ".joblib" else np.load(family.rows)
    labels = np.load(family.labels)[:SAMPLE_ROWS]
    return create_project(load_model(family.model), rows[:SAMPLE_ROWS], labels, folder=folder)


def _transformed(name: str, prepared: InMemoryProject, trees: int) -> Variant:
    variant = import_baseline(prepared.imported, prepared.rows, prepared.project.blobs)
    context = TransformContext(blobs=prepared.project.blobs, sample=matrix(prepared.rows.table, variant.signature))
    engine: Any = load_engine(variant.engine)
    if trees:
        artifact = context.save(engine.truncate(context.read(variant), trees), variant.artifact.format)
        variant = replace(variant, artifact=artifact)
    return load_transform(name)(variant, context)[0]
