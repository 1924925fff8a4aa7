"""The engine of the tests, installed like any third-party package: a model that returns the mean of its row."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import ImportedModel, ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings


class Echo:
    """Open the bytes b"echo"; the answer to a row is the mean of its values, so that swapped answers are noticed."""

    formats: ClassVar[tuple[str, ...]] = ("echo",)
    files: ClassVar[tuple[str, ...]] = (".echo",)

    def __init__(self, content: bytes, settings: Settings) -> None:
        if content != b"echo":
            raise EngineError("these bytes are not an echo model", hint="give the bytes b'echo'")

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        if model != "echo" and model != ModelFile(content=b"echo", suffix=".echo"):
            raise NotApplicable("not an echo model")
        return ImportedModel(content=b"echo")

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return rows.mean(axis=1, keepdims=True)


plugin = Echo
