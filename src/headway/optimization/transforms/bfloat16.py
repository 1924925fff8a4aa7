"""Compute the products of a small network in bfloat16, by headway's own kernels on a CPU with AMX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext

STAGE = "runtime"
COST = {"opens": 2, "calls": 2}
_PROBES = 100


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant of engine `dense` with weights and inputs of its large layers rounded to bfloat16.

    Answers move by about .001 of the largest; sums stay in float32.

    Raises
    ------
    NotApplicable
        If engine `dense` does not run it, this CPU has no AMX, or no layer is large enough.
    PluginError
        If the kernels were not built.
    """
    if variant.engine != "dense":
        raise NotApplicable(f"is for variants of engine 'dense', and this is of engine {variant.engine!r}")
    engine: Any = load_engine("dense")
    if "bf16" not in engine.precisions():
        raise NotApplicable("bfloat16 is not faster on this CPU, which has no AMX")
    if variant.settings.get("precision", "f32") != "f32":
        raise NotApplicable("its precision is bfloat16 already")
    settings = {"precision": "bf16"}
    made = replace(
        variant, steps=(*variant.steps, Step(transform="bfloat16")), settings={**variant.settings, **settings}
    )
    if np.array_equal(_answers(variant, context), _answers(made, context), equal_nan=True):
        raise NotApplicable("no layer has more than 16 outputs, or 8 of a convolution, and answers that move")
    return [made]


def _answers(variant: Variant, context: TransformContext) -> Floats:
    found: Floats = context.open(variant).predict(context.sample[:_PROBES])
    return found
