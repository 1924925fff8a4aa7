"""Baselines that read texts, and rows with the numbers of texts."""

from __future__ import annotations

import numpy as np
from tests.engines.text_pipelines import TEXTS, fitted

from headway.core.texts import text_codes
from headway.core.variant import Field, Signature, Variant
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext

SIGNATURE = Signature(inputs=(Field(name="text", datatype="BYTES", is_text=True),))


def text_rows(texts: list[str] = TEXTS) -> np.ndarray:
    """Rows of one column of texts."""
    return np.array([text_codes.keep(texts)]).T


def imported_pipeline(pipeline: object, context: TransformContext) -> Variant:
    """The baseline of a fitted pipeline, or of one of `text_pipelines` by its name."""
    model = Sklearn.import_model(fitted(pipeline) if isinstance(pipeline, str) else pipeline)
    content, signature = Sklearn.bind(model.content, SIGNATURE)
    return Variant(artifact=context.save(content, "skops"), engine="sklearn", signature=signature, task=model.task)
