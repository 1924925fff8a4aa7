"""Variant: a model in one form; the model as it came is the Variant with no steps.

Fields that have their default are not written, so that a digest stays when a field with a default is added.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from headway.core.record import Record, Scalar, StoredRecord, canonical, digest_of

NUMBERS = ("regression", "ranking")
"""Tasks whose answer is one number of any size."""


class Field(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One input column: a number (`FP64`), or a text (`BYTES`) whose rank among `categories` is what a model reads.

    A text that is none of them is `unseen`: it reads as `missing`, or as an `other` one of rank len(categories), or the
    row is `refused`. A null is missing, whatever the rule.
    """

    name: str
    datatype: str = "FP64"
    categories: tuple[str, ...] = ()
    unseen: Literal["missing", "other", "refused"] = "missing"


class Signature(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Inputs in order, and the output: binary and regression have one column, multiclass one a class.

    `absent` is what a cell that a sparse row leaves out means to the model: `zero` or `missing`.
    """

    inputs: tuple[Field, ...]
    output: str = "probability"
    classes: tuple[str, ...] = ()
    absent: Literal["zero", "missing"] = "zero"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order in which a row carries them."""
        return tuple(column.name for column in self.inputs)


class Artifact(Record, frozen=True, kw_only=True):
    """The bytes of a model: their format (`lightgbm`, `onnx`, ...), digest and size. The bytes are in a blob store."""

    format: str
    digest: str
    size_bytes: int


class Step(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One transform that was applied, with its settings."""

    transform: str
    settings: dict[str, Scalar] = {}

    def __str__(self) -> str:
        values = ", ".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return f"{self.transform}({values})" if values else self.transform


class Variant(StoredRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A model in one form: its bytes, the engine that opens them, and the steps that led from the model as it came."""

    artifact: Artifact
    engine: str
    signature: Signature
    task: str = "binary"
    steps: tuple[Step, ...] = ()
    settings: dict[str, Scalar] = {}

    @property
    def digest(self) -> str:
        """The identity of this variant: equal digests answer alike."""
        return digest_of(canonical(self))

    @property
    def name(self) -> str:
        """A short name for tables, made of engine, steps and settings: `onnxruntime · truncate(trees=200)`."""
        settings = [f"{key}={value}" for key, value in sorted(self.settings.items())]
        said = {self.engine, self.artifact.format, *self.settings}
        steps = [str(step) for step in self.steps if step.transform not in said]
        return " · ".join([self.engine, *steps, *settings]) + ("" if self.steps else " (as it came)")

    def remade(self, step: Step, artifact: Artifact, *, engine: str) -> Variant:
        """The model after one step more, in other bytes that this engine opens with its own settings."""
        return replace(self, artifact=artifact, engine=engine, steps=(*self.steps, step), settings={})

    def with_step(self, step: Step) -> Variant:
        """The same model after one step more; artifact, engine and settings as they are."""
        return replace(self, steps=(*self.steps, step))
