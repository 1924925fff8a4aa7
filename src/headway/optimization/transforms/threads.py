"""Set the number of threads: one, and one for each core that affinity and the container's CPU quota allow."""

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
COST = {"seconds": 0}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:  # noqa: ARG001 - the signature of every transform
    """Return the variant with each number of threads that it does not have already.

    Raises
    ------
    NotApplicable
        If its engine has no setting `threads`, or no other number is left.
    """
    defaults: Settings = getattr(load_engine(variant.engine), "defaults", {})
    if "threads" not in defaults:
        raise NotApplicable(f"engine {variant.engine!r} has no setting 'threads'")
    has = variant.settings.get("threads", defaults["threads"])
    others = sorted({1, cores()} - {has})
    if not others:
        raise NotApplicable("this process has one core, and the variant runs on one thread")
    return [_with(variant, threads) for threads in others]


def _with(variant: Variant, threads: int) -> Variant:
    step = Step(transform="threads", settings={"threads": threads})
    return replace(variant, steps=(*variant.steps, step), settings={**variant.settings, "threads": threads})
