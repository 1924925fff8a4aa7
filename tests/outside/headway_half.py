"""Label an echo model as optimized: the transform of the tests, installed like any third-party package."""

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext

STAGE = "runtime"
KEEPS_ANSWERS = True
COST = {"seconds": 0.1}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    if variant.artifact.format != "echo":
        raise NotApplicable(f"works on format 'echo', and this is of format {variant.artifact.format!r}")
    artifact = context.save(context.read(variant), "echo")
    return [variant.remade(Step(transform="half"), artifact, engine="echo")]
