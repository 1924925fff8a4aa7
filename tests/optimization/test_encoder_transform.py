"""Transform `encoder`: a pipeline of an encoder and a model answers as scikit-learn does, without scikit-learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tests.engines import encoders
from tests.engines.text_pipelines import TEXTS
from tests.optimization.contexts import context_in, opened
from tests.optimization.text_variants import imported_pipeline, text_rows

import headway as hw
from headway.api import as_called
from headway.core.errors import NotApplicable
from headway.engines.estimators.encoders import SentenceEncoder
from headway.optimization.context import TransformContext, load_transform

pytestmark = [pytest.mark.slow, pytest.mark.services]


def context_of(folder: Path) -> TransformContext:
    return dataclasses.replace(context_in(folder), sample=text_rows())


@pytest.mark.parametrize(
    "steps",
    [
        [LogisticRegression(max_iter=500)],
        [StandardScaler(), LogisticRegression(max_iter=500)],
        [RandomForestClassifier(n_estimators=5)],
        [SVC()],
        [KNeighborsClassifier()],
    ],
    ids=lambda steps: type(steps[-1]).__name__ + str(len(steps)),
)
def test_the_answers_are_those_of_the_pipeline(steps, tmp_path):
    pipeline = make_pipeline(SentenceEncoder(encoders.bert()), *steps).fit(TEXTS, encoders.LABELS)
    context = context_of(tmp_path)
    model = imported_pipeline(pipeline, context)
    [made] = load_transform("encoder")(model, context)
    assert made.engine == "encoder" and made.artifact.format == "encoder"
    scores = opened(made, context).predict(text_rows())
    assert np.abs(scores - opened(model, context).predict(text_rows())).max() < 1e-6
    if hasattr(pipeline, "predict_proba"):
        assert np.abs(scores - pipeline.predict_proba(TEXTS)).max() < 1e-6


def test_a_pipeline_without_an_encoder_does_not_apply(tmp_path):
    context = context_of(tmp_path)
    with pytest.raises(NotApplicable, match="first step"):
        load_transform("encoder")(imported_pipeline("union", context), context)


def test_an_encoder_in_int8_answers_nearly_the_same_and_each_text_as_if_alone(tmp_path):
    context = context_of(tmp_path)
    [made] = load_transform("encoder")(imported_pipeline(encoders.pipeline_of(encoders.bert()), context), context)
    [small] = load_transform("quantise")(made, context)
    assert small.engine == "encoder" and small.steps[-1].transform == "quantise"
    rows = text_rows()
    exact, found = opened(made, context).predict(rows), opened(small, context).predict(rows)
    assert 1e-6 < np.abs(exact - found).max() < 0.2
    alone = np.concatenate([opened(small, context).predict(rows[index : index + 1]) for index in range(20)])
    assert np.abs(alone - found[:20]).max() < 1e-9
    with pytest.raises(NotApplicable, match="in int8 already"):
        load_transform("quantise")(small, context)


def test_static_embeddings_have_no_product_for_int8(tmp_path):
    context = context_of(tmp_path)
    model = imported_pipeline(encoders.pipeline_of(encoders.static_encoder()), context)
    [made] = load_transform("encoder")(model, context)
    with pytest.raises(NotApplicable, match="no product"):
        load_transform("quantise")(made, context)


def test_texts_that_repeat_get_a_cache_in_front_of_the_encoder_and_others_do_not(tmp_path):
    context = context_of(tmp_path)
    [made] = load_transform("encoder")(imported_pipeline(encoders.pipeline_of(encoders.bert()), context), context)
    repeated = dataclasses.replace(context, sample=text_rows(TEXTS[:20] * 20))
    [cached] = load_transform("cache")(made, repeated)
    assert cached.engine == "cache"
    rows = text_rows(TEXTS[:3])
    model, cache = opened(made, context), opened(cached, context)
    for _ in range(2):
        assert all(np.array_equal(cache.predict(row[None]), model.predict(row[None])) for row in rows)
    once = dataclasses.replace(context, sample=text_rows(list(dict.fromkeys(TEXTS))))
    with pytest.raises(NotApplicable, match="a cache pays from"):
        load_transform("cache")(made, once)


def test_a_pipeline_is_optimized_saved_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(as_called, "OWN_LIMIT_S", 0.0)  # the pipeline's own call has other last bits
    best = hw.optimize(
        encoders.pipeline_of(encoders.bert()), TEXTS, encoders.LABELS, transforms=["encoder"], budget="2s"
    )
    best.save(tmp_path / "model.headway")
    loaded = hw.load(tmp_path / "model.headway")
    assert np.array_equal(loaded.predict_proba(TEXTS[:9]), best.predict_proba(TEXTS[:9]))
    assert list(loaded.predict(TEXTS[:9])) == list(encoders.pipeline_of(encoders.bert()).predict(TEXTS[:9]))
