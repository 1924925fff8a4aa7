"""Distil a sentence encoder into static embeddings, a vector per word and a linear model after their sum.

Engine `text` runs them, without a tokenizer. Whether they lose too much is for the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.texts import text_codes
from headway.core.variant import Step, Variant
from headway.engines.estimators.static import encode_words, fit_static
from headway.engines.estimators.texts import text_program
from headway.engines.formats.encoder import EncoderEngine, tokenizer_words
from headway.optimization.context import TransformContext

STAGE = "train"
COST = {"rows": 20_000, "seconds": 60}

COMPONENTS = (256, 64)


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return variants of 256 and of 64 numbers a word, each trained on the labels of the training rows.

    Raises
    ------
    NotApplicable
        If the model is not a classifier that begins with a sentence encoder, or the training rows are unknown.
    PluginError
        If the text kernel was not built.
    """
    if variant.steps:
        raise NotApplicable("only the baseline is distilled")
    engine = load_engine(variant.engine)
    if not variant.signature.texts or not isinstance(engine, EncoderEngine):
        raise NotApplicable("distils pipelines that begin with a sentence encoder")
    encoder, _ = engine.split_encoder(context.read(variant))
    if variant.task not in ("binary", "multiclass"):
        raise NotApplicable(f"static embeddings are trained for classes, and the task is {variant.task!r}")
    data = context.train()
    if data is None:
        raise NotApplicable("the rows that the model was trained on are not available")
    labels = data.labels.astype(np.int64)
    if len(np.unique(labels)) != max(context.open(variant).predict(data.rows[:0]).shape[1], 2):
        raise NotApplicable("the training rows lack a class of the model")
    texts = [text or "" for text in text_codes.texts(data.rows[:, 0])]
    opened: Any = load_engine("encoder")(encoder, {})
    vectors = encode_words(texts, tokenizer_words(encoder), opened.encode)
    made = []
    for components in sorted({min(count, vectors.vectors.shape[1]) for count in COMPONENTS}, reverse=True):
        pipeline = fit_static(texts, labels, vectors, components=components, weights=data.weights)
        program = text_program(pipeline, columns=None, width=1, texts=[0])
        load_engine("text")(program, {})
        settings: dict[str, Any] = {"components": components}
        step = Step(transform="static", settings=settings)
        made.append(variant.remade(step, context.save(program, "text"), engine="text"))
    return made
