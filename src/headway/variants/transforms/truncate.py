"""Fewer trees: the first of a boosted model, which are most of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.contracts import Workbench
from headway.core.errors import NotApplicable
from headway.core.variant import Step, Variant
from headway.engines.formats.lightgbm_text import TextModel, read

SHARES = (5 / 6, 2 / 3, 1 / 2, 1 / 3)


def plugin(variant: Variant, bench: Workbench) -> Sequence[Variant]:
    """The variant cut to about 5/6, 2/3, 1/2 and 1/3 of its iterations; `trees` counts them for each output.

    Raises NotApplicable where it is no boosted LightGBM model, was cut before, or is too small to be cut.
    """
    if variant.artifact.format != "lightgbm":
        raise NotApplicable(f"cuts models of format lightgbm, not {variant.artifact.format}")
    if any(step.transform == "truncate" for step in variant.steps):
        raise NotApplicable("it was cut before")
    model = read(bench.read(variant))
    if model.averages:
        raise NotApplicable("its answer is the mean of its trees, of which none comes first")
    if not sizes(model.iterations):
        raise NotApplicable(f"it has {model.iterations} trees, too few to cut")
    return [_cut(variant, model, trees, bench) for trees in sizes(model.iterations)]


def sizes(iterations: int) -> list[int]:
    """About 5/6, 2/3, 1/2 and 1/3 of the iterations, in numbers a person would choose.

    >>> sizes(300), sizes(500), sizes(7), sizes(1)
    ([250, 200, 150, 100], [420, 330, 250, 170], [6, 5, 4, 2], [])
    """
    step = 1
    while step * 60 <= iterations:
        step *= 10
    rounded = {int(iterations * share / step + 0.5) * step for share in SHARES}
    return sorted(rounded & set(range(1, iterations)), reverse=True)


def _cut(variant: Variant, model: TextModel, trees: int, bench: Workbench) -> Variant:
    artifact = bench.keep(model.first(trees).text().encode("utf-8"), variant.artifact.format)
    step = Step(transform="truncate", settings={"trees": trees})
    return replace(variant, artifact=artifact, steps=(*variant.steps, step))
