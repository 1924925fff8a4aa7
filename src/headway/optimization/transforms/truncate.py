"""Truncate a boosted model or forest to its first trees, which make up most of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext

STAGE = "truncate"
COST = {"opens": 8, "seconds": 0.1}

SHARES = (5 / 6, 2 / 3, 1 / 2, 1 / 3)


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant truncated to about 5/6, 2/3, 1/2 and 1/3 of its iterations; `trees` counts them per output.

    Raises
    ------
    NotApplicable
        If it is not a model of several trees, was truncated before, or is too small.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"truncates tree models, and engine {variant.engine!r} has no trees to truncate")
    if any(step.transform in ("distil", "truncate") for step in variant.steps):
        raise NotApplicable("it was truncated before, or is a distilled student")
    content = context.read(variant)
    rounds = engine.rounds(content)
    if not cut_sizes(rounds):
        raise NotApplicable(f"it has {rounds} trees, too few to truncate")
    cuts = {trees: engine.truncate(content, trees) for trees in cut_sizes(rounds)}
    return [_cut(variant, trees, cut, context) for trees, cut in cuts.items()]


def cut_sizes(iterations: int) -> list[int]:
    """Return about 5/6, 2/3, 1/2 and 1/3 of the iterations, as round numbers.

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
