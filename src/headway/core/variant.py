"""Variant: a model in one form; the baseline is the variant with no steps.

Fields with their default value are not written, so a digest stays the same when a field with a default is added.
"""

from __future__ import annotations

import math
from typing import Literal

from msgspec.structs import replace

from headway.core.record import Record, Scalar, StoredRecord, canonical, digest_of

NUMBERS = ("regression", "ranking")
"""Tasks whose answer is one number of any size."""
DECIDES = ("binary", "multiclass")
"""Tasks whose answers are one decision for a row."""
MULTILABEL = "multilabel"
"""Task whose answer is the probability of each label of a row, which may have several, or none."""
Refusal = Literal["missing", "infinite", "beyond float32"]
"""A kind of value that a library refuses to predict for."""
ThresholdRule = Literal["costs", "library"]
"""What a decision threshold was taken from: costs, or the `predict` of the model's library."""
_MAX_NAMED = 5  # classes in a message
TIE = 2.0**-40
"""Largest distance from one half that rounding gives to a tie of two classes, if leaves are added in another order."""
LIBRARY_THRESHOLD = 0.5 + TIE
"""Smallest probability of the second class at which a library predicts it: a tie goes to the first class."""


class Field(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One input column: a number (`FP64`), or a string (`BYTES`), which is a category or a text.

    The model reads the rank of a category among `categories`. A value that is none of them is `unseen`: it counts as
    `missing`, or as `other` with rank len(categories), or has the rank len(categories) plus its hash where it is
    `hashed` (`core.categories`), or the row is `refused`. A row has the number of a text (`is_text`) in
    `core.texts.text_codes`. A null is always missing. `refuses` lists the values for which the model's library raises.
    """

    name: str
    datatype: str = "FP64"
    categories: tuple[str, ...] = ()
    unseen: Literal["missing", "other", "hashed", "refused"] = "missing"
    refuses: tuple[Refusal, ...] = ()
    is_text: bool = False

    @property
    def ranks_unseen(self) -> bool:
        """True if an unseen category has a rank, from len(categories) on."""
        return self.unseen in ("other", "hashed")


class Signature(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Inputs in order, and the output: one column for binary and regression, one per class for multiclass, one per
    label for multilabel.

    `absent` is the meaning of a cell that a sparse row leaves out: `zero` or `missing`.
    """

    inputs: tuple[Field, ...]
    output: str = "probability"
    classes: tuple[str, ...] = ()
    absent: Literal["zero", "missing"] = "zero"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs, in the order in which a row carries them."""
        return tuple(column.name for column in self.inputs)

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the inputs that are texts."""
        return tuple(column.name for column in self.inputs if column.is_text)


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
    """A model in one form: its bytes, the engine that opens them, and the steps that led from the baseline to it."""

    artifact: Artifact
    engine: str
    signature: Signature
    task: str = "binary"
    steps: tuple[Step, ...] = ()
    settings: dict[str, Scalar] = {}

    @property
    def digest(self) -> str:
        """Identity of the variant: variants with equal digests give equal answers."""
        return digest_of(canonical(self))

    @property
    def name(self) -> str:
        """A short name for tables, made of engine, steps and settings: `onnxruntime · truncate(trees=200)`.

        That of the baseline leaves out the settings that the model came with.
        """
        settings = [f"{key}={value}" for key, value in sorted(self.settings.items()) if self.steps]
        shown = {self.engine, self.artifact.format, *self.settings}
        steps = [str(step) for step in self.steps if step.transform not in shown]
        return " · ".join([self.engine, *steps, *settings]) + ("" if self.steps else " (baseline)")

    def can_have_label(self, label: float) -> bool:
        """Return whether a row can have a label: 0 or 1, the number of a class, else any finite number."""
        if self.task not in DECIDES:
            return math.isfinite(label)
        n_classes = 2 if self.task == "binary" else len(self.signature.classes) or math.inf
        return 0 <= label < n_classes and label == label // 1

    def label_values(self) -> str:
        """Return in words which labels a row can have, with the names of few classes."""
        classes = self.signature.classes
        if self.task not in DECIDES:
            return "a finite number"
        if 0 < len(classes) <= _MAX_NAMED:
            return " or ".join(f"{number} ({name})" for number, name in enumerate(classes))
        return "0 or 1" if self.task == "binary" else "the number of its class, from 0 on"

    def remade(self, step: Step, artifact: Artifact, *, engine: str) -> Variant:
        """Return the variant after one more step, with other bytes that this engine opens with its default settings.

        In the same engine it runs on as many threads as before.
        """
        settings = {key: value for key, value in self.settings.items() if key == "threads" and engine == self.engine}
        return replace(self, artifact=artifact, engine=engine, steps=(*self.steps, step), settings=settings)

    def with_step(self, step: Step) -> Variant:
        """Return the variant after one more step, with the same artifact, engine and settings."""
        return replace(self, steps=(*self.steps, step))
