"""Thread settings: one thread, and one for each core that affinity and the container's CPU quota leave us."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Settings
from headway.core.threads import cores
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext

STAGE = "execution"
KEEPS_ANSWERS = True


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:  # noqa: ARG001 - what every transform is given
    """The variant with each number of threads that it does not have already.

    Raises NotApplicable where its engine takes no `threads`, or has no other number to take.
    """
    defaults: Settings = getattr(load_engine(variant.engine), "defaults", {})
    if "threads" not in defaults:
        raise NotApplicable(f"engine {variant.engine!r} takes no number of threads")
    has = variant.settings.get("threads", defaults["threads"])
    others = sorted({1, cores()} - {has})
    if not others:
        raise NotApplicable("this process has one core, and the variant runs on one thread")
    return [_with(variant, threads) for threads in others]


def _with(variant: Variant, threads: int) -> Variant:
    step = Step(transform="threads", settings={"threads": threads})
    return replace(variant, steps=(*variant.steps, step), settings={**variant.settings, "threads": threads})
