"""A memory before a model, offered where rows come again often enough and the model costs more than to remember."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Settings
from headway.core.variant import Step, Variant
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext

STAGE = "execution"
KEEPS_ANSWERS = True

Floats = NDArray[np.float64]

SIZES = (1_000, 10_000, 100_000)
MIN_HIT_RATE = 0.2
_TIMED = 200


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The variant behind a memory of the fewest rows that find nine tenths of what the largest would.

    Raises NotApplicable, with what was measured, where fewer than a fifth of the rows of `validation` come again, or the
    time of the rows that are found does not pay for looking up all.
    """
    if variant.engine == "cache":
        raise NotApplicable("it remembers already")
    hits = [hit_rate(context.sample, size) for size in SIZES]
    if hits[-1] < MIN_HIT_RATE:
        raise NotApplicable(
            f"{hits[-1]:.1%} of {len(context.sample):,} rows come again; it pays from {MIN_HIT_RATE:.0%} on"
        )
    size, share = next((size, share) for size, share in zip(SIZES, hits, strict=True) if share >= 0.9 * hits[-1])
    content = context.read(variant)
    inner = NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(content))
    artifact = pack_models(NestedHeader(models=(inner,), numbers={"rows": float(size)}), content)
    _expect_gain(load_engine(variant.engine)(content, variant.settings), context.sample, share)
    settings: Settings = {"rows": size, "found": round(share, 3)}
    step = Step(transform="cache", settings=dict(settings))
    return [variant.remade(step, context.save(artifact, "cache"), engine="cache")]


def hit_rate(rows: Floats, size: int) -> float:
    """The share of rows [n, d] that a memory of so many would find, asked in their order, in [0, 1]."""
    kept: OrderedDict[bytes, None] = OrderedDict()
    found = 0
    for row in rows:
        key = row.tobytes()
        found += key in kept
        kept.setdefault(key)
        if len(kept) > size:
            kept.popitem(last=False)
    return found / max(len(rows), 1)


def _expect_gain(model: Engine, rows: Floats, share: float) -> None:
    """Raise NotApplicable where remembering the rows that are found saves less than looking all of them up costs."""
    some = [np.ascontiguousarray(row[None, :]) for row in rows[:_TIMED]]
    asked = _median_seconds(lambda row: model.predict(row), some)
    looked_up = _median_seconds(lambda row: row.tobytes(), some) + _median_seconds(lambda row: row.copy(), some)
    if share * asked <= looked_up:
        raise NotApplicable(
            f"{share:.0%} of the rows come again, and to answer one takes {asked * 1e6:.2g} us against "
            f"{looked_up * 1e6:.2g} us to look it up"
        )


def _median_seconds(call: Callable[[Floats], object], rows: Sequence[Floats]) -> float:
    times = []
    for row in rows:
        began = time.perf_counter()
        call(row)
        times.append(time.perf_counter() - began)
    return float(np.median(times))
