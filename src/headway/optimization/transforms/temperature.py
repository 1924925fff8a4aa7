"""Flatten probabilities by a temperature, so that they say less about single training rows; no decision changes."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.variant import DECIDES, Variant
from headway.engines.coarse import TEMPERATURE
from headway.optimization.context import TransformContext
from headway.optimization.transforms._coarse import coarse_variants

STAGE = "execution"
COST = {"rows": 1_000, "opens": 2}
REQUIRES = ("private",)
COMES_FIRST = True
KEEPS_DECISIONS = True

TEMPERATURES = (2.0,)


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant with log-odds divided by two, from those of the threshold for two classes.

    The probabilities are calibrated no more: rules on `ece` or `brier` see that.

    Raises
    ------
    NotApplicable
        If it makes no decisions, its answers are coarse already, or not probabilities.
    """
    if variant.task not in DECIDES:
        raise NotApplicable(f"a {variant.task} model makes no decisions")
    return coarse_variants(variant, context, "temperature", TEMPERATURE, TEMPERATURES)
