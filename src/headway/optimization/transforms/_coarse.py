"""Variants whose answers say less, for the transforms `round`, `top` and `temperature`."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.record import Settings
from headway.core.variant import Step, Variant
from headway.engines.coarse import THRESHOLD
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext

_NESTED = ("coarse", "cache")


def coarse_variants(
    variant: Variant, context: TransformContext, transform: str, setting: str, amounts: Sequence[float]
) -> list[Variant]:
    """Return the variant with coarse answers, one for each amount; the threshold of the context decides as before.

    Raises
    ------
    NotApplicable
        If its answers are coarse already, or not probabilities.
    """
    if variant.engine in _NESTED:
        raise NotApplicable(f"engine {variant.engine!r} comes last")
    if not len(context.sample):
        raise NotApplicable("no row to answer")
    answers = context.open(variant).predict(context.sample[:1_000])
    if not ((answers >= 0) & (answers <= 1)).all():
        raise NotApplicable("its answers are not probabilities")
    content = context.read(variant)
    inner = NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(content))
    found = []
    for amount in amounts:
        header = NestedHeader(models=(inner,), numbers={setting: float(amount), THRESHOLD: context.threshold})
        settings: Settings = {setting: amount}
        step = Step(transform=transform, settings=dict(settings))
        artifact = context.save(pack_models(header, content), "coarse")
        found.append(variant.remade(step, artifact, engine="coarse"))
    return found
