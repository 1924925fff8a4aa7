"""Variants of small boosters, with a transform context that stores artifacts in a folder."""

from __future__ import annotations

from pathlib import Path

from tests.engines.boosters import table

from headway.core.contracts import Engine
from headway.core.plugins import load_blobs, load_engine
from headway.core.variant import Field, Signature, Variant
from headway.optimization.context import TransformContext

NUMBERS = Signature(inputs=tuple(Field(name=name) for name in ("category", "gaps", "number", "id")))
CATEGORY = Field(name="category", datatype="BYTES", categories=tuple(f"{number:02}" for number in range(40)))
TEXTS = Signature(inputs=(CATEGORY, *NUMBERS.inputs[1:]))


def context_in(folder: Path) -> TransformContext:
    """A context whose sample is the training table of the boosters."""
    return TransformContext(blobs=load_blobs("files")(folder), sample=table())


def baseline_of(
    text: str, context: TransformContext, *, task: str = "binary", signature: Signature = NUMBERS
) -> Variant:
    """The baseline of a LightGBM text."""
    artifact = context.save(text.encode("utf-8"), "lightgbm")
    return Variant(artifact=artifact, engine="lightgbm", signature=signature, task=task)


def imported(
    engine: str, content: bytes, context: TransformContext, *, task: str = "binary", signature: Signature = NUMBERS
) -> Variant:
    """The baseline of bytes that an engine opens."""
    artifact = context.save(content, load_engine(engine).formats[0])
    return Variant(artifact=artifact, engine=engine, signature=signature, task=task)


def opened(variant: Variant, context: TransformContext) -> Engine:
    """The variant's model, opened by its engine with its settings."""
    return load_engine(variant.engine)(context.read(variant), variant.settings)
