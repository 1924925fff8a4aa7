"""Answer with the most probable classes alone, so that an answer of many classes says less about the model."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.variant import Variant
from headway.engines.coarse import TOP
from headway.optimization.context import TransformContext
from headway.optimization.transforms._coarse import coarse_variants

STAGE = "execution"
COST = {"rows": 1_000, "opens": 2}
REQUIRES = ("private",)
COMES_FIRST = True
KEEPS_DECISIONS = True

CLASSES = 3
_MIN_CLASSES = 5


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with the probabilities of the three most probable classes; the others share the rest equally.

    Raises
    ------
    NotApplicable
        If it has fewer than five classes, its answers are coarse already, or not probabilities.
    """
    if len(variant.signature.classes) < _MIN_CLASSES or variant.task != "multiclass":
        raise NotApplicable(f"it has fewer than {_MIN_CLASSES} classes")
    return coarse_variants(variant, context, "top", TOP, (CLASSES,))
