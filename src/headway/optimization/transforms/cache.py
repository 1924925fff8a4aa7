"""Cache answers in front of a model, if enough rows repeat and the model costs more than a look-up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.record import Settings
from headway.core.variant import Step, Variant
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext, median_seconds

STAGE = "execution"
KEEPS_ANSWERS = True
COST = {"calls": 200}


SIZES = (1_000, 10_000, 100_000)
MIN_HIT_RATE = 0.2
_TIMED = 200


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant behind the smallest cache that reaches nine tenths of the hit rate of the largest.

    Raises
    ------
    NotApplicable
        If fewer than a fifth of the validation rows repeat, or the hits save less time than the look-ups cost.
    """
    if variant.engine == "cache":
        raise NotApplicable("it has a cache already")
    hits = [hit_rate(context.sample, size) for size in SIZES]
    if hits[-1] < MIN_HIT_RATE:
        raise NotApplicable(
            f"{hits[-1]:.1%} of {len(context.sample):,} rows repeat; a cache pays from {MIN_HIT_RATE:.0%} on"
        )
    size, share = next((size, share) for size, share in zip(SIZES, hits, strict=True) if share >= 0.9 * hits[-1])
    content = context.read(variant)
    inner = NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(content))
    artifact = pack_models(NestedHeader(models=(inner,), numbers={"rows": float(size)}), content)
    _expect_gain(context.open(variant), context.sample, share)
    settings: Settings = {"rows": size, "found": round(share, 3)}
    step = Step(transform="cache", settings=dict(settings))
    return [variant.remade(step, context.save(artifact, "cache"), engine="cache")]


def hit_rate(rows: Floats, size: int) -> float:
    """Return the share of rows (n, d) that a cache of `size` rows finds when they come in this order, in [0, 1]."""
    cached: OrderedDict[bytes, None] = OrderedDict()
    found = 0
    for row in rows:
        key = row.tobytes()
        found += key in cached
        cached.setdefault(key)
        if len(cached) > size:
            cached.popitem(last=False)
    return found / max(len(rows), 1)


def _expect_gain(model: Engine, rows: Floats, share: float) -> None:
    """Raise NotApplicable if the hits save less time than the look-ups cost."""
    predict_s = median_seconds(model.predict, rows, _TIMED)
    lookup_s = median_seconds(lambda row: row.tobytes(), rows, _TIMED)
    lookup_s += median_seconds(lambda row: row.copy(), rows, _TIMED)
    if share * predict_s <= lookup_s:
        raise NotApplicable(
            f"{share:.0%} of the rows repeat; the model takes {predict_s * 1e6:.2g} us a row, and a look-up "
            f"{lookup_s * 1e6:.2g} us"
        )
