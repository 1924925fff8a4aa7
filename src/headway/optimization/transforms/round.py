"""Round probabilities to two decimals, or one, so that an answer says less about the model; no decision changes."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.variant import DECIDES, Variant
from headway.engines.coarse import DECIMALS
from headway.optimization.context import TransformContext
from headway.optimization.transforms._coarse import coarse_variants

STAGE = "execution"
COST = {"rows": 1_000, "opens": 2}
REQUIRES = ("private",)
COMES_FIRST = True
KEEPS_DECISIONS = True


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with answers of two decimals, and of one.

    A score that rounding would take over the threshold gets the nearest value on its own side.

    Raises
    ------
    NotApplicable
        If it makes no decisions, its answers are coarse already, or not probabilities.
    """
    if variant.task not in DECIDES:
        raise NotApplicable(f"a {variant.task} model makes no decisions")
    return coarse_variants(variant, context, "round", DECIMALS, (2, 1))
