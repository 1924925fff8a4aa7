"""Fewer trees: the first of a boosted model, which are most of its answer, or of a forest, whose mean they are near."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext

STAGE = "truncate"

SHARES = (5 / 6, 2 / 3, 1 / 2, 1 / 3)


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The variant cut to about 5/6, 2/3, 1/2 and 1/3 of its iterations; `trees` counts them for each output.

    Raises NotApplicable where it is no model of several trees, was cut before, or is too small to be cut.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"cuts models of trees, and engine {variant.engine!r} has none that it can cut")
    if any(step.transform in ("distil", "truncate") for step in variant.steps):
        raise NotApplicable("it was cut before, or is a student of the size that it was taught for")
    content = context.read(variant)
    rounds = engine.rounds(content)
    if not cut_sizes(rounds):
        raise NotApplicable(f"it has {rounds} trees, too few to cut")
    cuts = {trees: engine.truncate(content, trees) for trees in cut_sizes(rounds)}
    return [_cut(variant, trees, cut, context) for trees, cut in cuts.items()]


def cut_sizes(iterations: int) -> list[int]:
    """About 5/6, 2/3, 1/2 and 1/3 of the iterations, in numbers a person would choose.

    >>> cut_sizes(300), cut_sizes(500), cut_sizes(7), cut_sizes(1)
    ([250, 200, 150, 100], [420, 330, 250, 170], [6, 5, 4, 2], [])
    """
    step = 1
    while step * 60 <= iterations:
        step *= 10
    rounded = {int(iterations * share / step + 0.5) * step for share in SHARES}
    return sorted(rounded & set(range(1, iterations)), reverse=True)


def _cut(variant: Variant, trees: int, content: bytes, context: TransformContext) -> Variant:
    artifact = context.save(content, variant.artifact.format)
    step = Step(transform="truncate", settings={"trees": trees})
    return replace(variant, artifact=artifact, steps=(*variant.steps, step))
