"""Leave features out: a model trained without them, or the same model with a constant in their place."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.variant import Variant
from headway.optimization.context import TransformContext
from headway.optimization.reduced import models_without

STAGE = "train"
REQUIRES = ("without",)
COST = {"seconds": 5}
COMES_FIRST = True


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline without the features of `[optimize] without`; see `models_without`.

    Raises
    ------
    NotApplicable
        If the variant has steps, reads none of the features, or no others.
    """
    if variant.steps:
        raise NotApplicable("applies to the baseline only")
    return models_without(variant, context, context.without)
