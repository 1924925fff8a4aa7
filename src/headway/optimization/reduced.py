"""Models without some of their features: trained without them, or with constants in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.variant import Field, Step, Variant
from headway.engines.formats.columns import column_indices
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext


def models_without(variant: Variant, context: TransformContext, features: Sequence[str]) -> list[Variant]:
    """Return a baseline without features, which its signature then lacks, as variants with a step `without`.

    With a training function it is trained without them. Else the model gets a constant in their place: a missing value,
    and the mean or the most frequent category of the training rows, or of `validation` if these are unknown.

    Raises
    ------
    NotApplicable
        If the model reads none of the features, or no others.
    """
    removed = [field for field in variant.signature.inputs if field.name in features]
    inputs = tuple(field for field in variant.signature.inputs if field.name not in features)
    if not removed or not inputs:
        raise NotApplicable(f"the model reads {'no other features' if removed else 'none of these features'}")
    names = ",".join(field.name for field in removed)
    if context.retrain is not None:
        model = context.retrain([field.name for field in inputs])
        return [replace(model, steps=(Step(transform="without", settings={"features": names}),))]
    signature = replace(variant.signature, inputs=inputs)
    return [
        replace(_held(variant, context, signature.names, values, features=names, value=kind), signature=signature)
        for kind, values in _constants(removed, variant, context)
    ]


def _constants(
    removed: Sequence[Field], variant: Variant, context: TransformContext
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield constants for the features by name: missing values if the model takes them, and typical ones."""
    if not any("missing" in field.refuses for field in removed):
        yield "missing", dict.fromkeys((field.name for field in removed), np.nan)
    data = context.train()
    rows, names = context.sample if data is None else data.rows, variant.signature.names
    yield "typical", {field.name: _typical(field, rows[:, names.index(field.name)]) for field in removed}


def _typical(field: Field, values: Floats) -> float:
    """Return the mean, or the most frequent category; missing if no value is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan")
    return float(np.bincount(known.astype(np.int64)).argmax()) if field.categories else float(known.mean())


def _held(
    variant: Variant,
    context: TransformContext,
    names: Sequence[str],
    values: dict[str, float],
    *,
    features: str,
    value: str,
) -> Variant:
    """Return the model with constants in place of features, over rows of the columns `names`."""
    content = context.read(variant)
    columns = column_indices(variant.signature.names, names)
    constants = [values.get(name, 0.0) for name in variant.signature.names]
    inner = NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(content))
    header = NestedHeader(
        models=(inner,),
        columns=tuple(columns),
        constants=tuple(None if np.isnan(constant) else constant for constant in constants),
    )
    step = Step(transform="without", settings={"features": features, "value": value})
    return variant.remade(step, context.save(pack_models(header, content), "columns"), engine="columns")
