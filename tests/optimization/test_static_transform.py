"""Transform `static`: an encoder becomes a vector per word, which the text kernel sums as scikit-learn does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from tests.engines import encoders
from tests.engines.text_pipelines import TEXTS
from tests.optimization.contexts import context_in, opened
from tests.optimization.text_variants import imported_pipeline, text_rows

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step
from headway.engines.estimators.encoders import SentenceEncoder
from headway.engines.estimators.static import SMOOTHING, encode_words, fit_static
from headway.engines.formats.encoder import tokenizer_words
from headway.optimization.context import TransformContext, load_transform

pytestmark = [pytest.mark.slow, pytest.mark.services]


def context_of(folder: Path, **changed: object) -> TransformContext:
    return dataclasses.replace(
        context_in(folder), **{"sample": text_rows(), "train": encoders.labeled_texts, **changed}
    )


def test_the_text_kernel_answers_as_the_fitted_pipeline(tmp_path):
    context = context_of(tmp_path)
    [made] = load_transform("static")(imported_pipeline(encoders.pipeline_of(encoders.bert()), context), context)
    assert made.engine == "text" and made.steps[-1].settings == {"components": 16}
    encoder = load_engine("encoder")(encoders.bert(), {})
    vectors = encode_words(TEXTS, tokenizer_words(encoders.bert()), encoder.encode)
    pipeline = fit_static(TEXTS, encoders.labeled_texts().labels.astype(int), vectors, components=16)
    assert np.abs(opened(made, context).predict(text_rows()) - pipeline.predict_proba(TEXTS)).max() < 1e-9


def test_words_of_the_texts_and_of_the_tokenizer_have_vectors_and_frequent_ones_count_less():
    encoder = load_engine("encoder")(encoders.bert(), {})
    found = encode_words(["late", "late parcel"], ["[CLS]", "##ly", "Money", "money", "late"], encoder.encode)
    assert found.words == ("late", "parcel", "money")
    vectors = encoder.encode(list(found.words)).astype(float)
    lengths = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    shares = np.array([2 / 3, 1 / 3, 0])
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), lengths * SMOOTHING / (SMOOTHING + shares))


def test_it_does_not_apply_without_training_rows_or_with_another_model(tmp_path):
    context = context_of(tmp_path)
    model = imported_pipeline(encoders.pipeline_of(encoders.static_encoder()), context)
    none = dataclasses.replace(context, train=lambda: None)
    few = dataclasses.replace(encoders.labeled_texts(), labels=np.zeros(len(TEXTS)))
    for variant, where, message in (
        (model, none, "not available"),
        (model, dataclasses.replace(context, train=lambda: few), "lack a class"),
        (replace(model, steps=(Step(transform="encoder"),)), context, "only the baseline"),
        (replace(model, task="regression"), context, "trained for classes"),
        (imported_pipeline("union", context), context, "first step"),
    ):
        with pytest.raises(NotApplicable, match=message):
            load_transform("static")(variant, where)


def test_a_model_without_probabilities_is_distilled_to_one_with_them(tmp_path):
    context = context_of(tmp_path)
    pipeline = make_pipeline(SentenceEncoder(encoders.static_encoder()), LinearSVC()).fit(TEXTS, encoders.LABELS)
    [made] = load_transform("static")(imported_pipeline(pipeline, context), context)
    assert np.allclose(opened(made, context).predict(text_rows()).sum(axis=1), 1)
