"""Transform `text`: pipelines over texts, alone and next to other columns, answer as scikit-learn does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC
from tests.engines.text_pipelines import EDGES, TEXTS, TREES, fitted
from tests.optimization.contexts import context_in, opened
from tests.optimization.text_variants import SIGNATURE, imported_pipeline, text_rows
from xgboost import XGBClassifier

from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature, Variant
from headway.engines.estimators.texts import text_program
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.transforms.text import plugin

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

RANDOM = np.random.default_rng(0)
CHANNELS = ("mail", "phone", "web")
TABLE = pd.DataFrame(
    {
        "subject": TEXTS[::-1],
        "age": np.where(np.arange(240) % 7, RANDOM.normal(40, 9, 240), np.nan),
        "channel": RANDOM.choice(CHANNELS, 240),
        "message": TEXTS,
        "amount": RANDOM.exponential(5, 240),
    }
)
LABELS = np.array([f"c{len(text) % 3}" for text in TEXTS])
COLUMNS = Signature(
    inputs=(
        Field(name="subject", datatype="BYTES"),
        Field(name="age"),
        Field(name="channel", datatype="BYTES", categories=CHANNELS),
        Field(name="message", datatype="BYTES"),
        Field(name="amount"),
    )
)
ROWS = np.column_stack(
    [
        text_codes.keep(TABLE["subject"]),
        TABLE["age"],
        [CHANNELS.index(channel) for channel in TABLE["channel"]],
        text_codes.keep(TABLE["message"]),
        TABLE["amount"],
    ]
)
ENCODERS = {
    "words, characters, numbers and categories": make_column_transformer(
        (TfidfVectorizer(), "message"),
        (CountVectorizer(analyzer="char"), "subject"),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "amount"]),
        (OneHotEncoder(handle_unknown="ignore"), ["channel"]),
    ),
    "components and a number": make_column_transformer(
        (make_pipeline(TfidfVectorizer(), TruncatedSVD(4)), "message"), ("passthrough", ["amount"])
    ),
    "components, bins and powers": make_column_transformer(
        (make_pipeline(TfidfVectorizer(), TruncatedSVD(4)), "subject"),
        (make_pipeline(SimpleImputer(), KBinsDiscretizer(3)), ["age"]),
        (PolynomialFeatures(2), ["amount"]),
    ),
}
MODELS = {
    "logistic regression": (LogisticRegression(), LABELS),
    "logistic regression, two classes": (LogisticRegression(), LABELS == "c0"),
    "network": (MLPClassifier((9,), max_iter=40), LABELS),
    "calibrated": (CalibratedClassifierCV(LinearSVC(), cv=2), LABELS),
}


def table_variant(model, context: TransformContext) -> Variant:
    """The baseline of a pipeline over the table."""
    made = Sklearn.import_model(model)
    content, signature = Sklearn.bind(made.content, COLUMNS)
    return Variant(artifact=context.save(content, "skops"), engine="sklearn", signature=signature, task=made.task)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", MODELS)
def test_texts_next_to_other_columns_are_scored_as_the_library_scores_them(encoder, name, tmp_path):
    context = dataclasses.replace(context_in(tmp_path), sample=ROWS)
    model, labels = MODELS[name]
    baseline = table_variant(make_pipeline(ENCODERS[encoder], model).fit(TABLE, labels), context)
    (variant,) = load_transform("text")(baseline, context)
    expected, found = (opened(item, context).predict(ROWS) for item in (baseline, variant))
    assert np.abs(expected - found).max() < 1e-12


def context_of_texts(folder: Path) -> TransformContext:
    return dataclasses.replace(context_in(folder), sample=text_rows())


def test_a_variant_answers_texts_as_its_pipeline_does(tmp_path):
    context = context_of_texts(tmp_path)
    baseline = imported_pipeline("union", context)
    (variant,) = plugin(baseline, context)
    rows = text_rows([*TEXTS, *EDGES])
    expected, found = (opened(item, context).predict(rows) for item in (baseline, variant))
    assert np.abs(expected - found).max() < 1e-12 and (expected.argmax(1) == found.argmax(1)).all()


@pytest.mark.parametrize("name", TREES)
def test_trees_over_texts_answer_as_their_library_does(name, tmp_path):
    context = context_of_texts(tmp_path)
    baseline = imported_pipeline(name, context)
    (variant,) = plugin(baseline, context)
    rows = text_rows([*TEXTS, *EDGES])
    expected, found = (opened(item, context).predict(rows) for item in (baseline, variant))
    assert np.abs(expected - found).max() < 1e-6 and (expected.argmax(1) == found.argmax(1)).all()


def test_signed_hashes_before_a_model_that_counts_zero_as_present_are_refused(tmp_path):
    context = context_of_texts(tmp_path)
    model = make_pipeline(HashingVectorizer(n_features=64), XGBClassifier(n_estimators=2))
    baseline = imported_pipeline(model.fit(TEXTS, LABELS == "c0"), context)
    with pytest.raises(NotApplicable, match="signed hashes"):
        plugin(baseline, context)


def test_a_program_before_anything_but_trees_is_refused(tmp_path):
    program = text_program(fitted("hashed"), columns=None, width=1, texts=[0])
    inner = NestedModel(engine="text", size_bytes=len(program))
    with pytest.raises(EngineError, match="followed by trees only"):
        load_engine("text")(pack_models(NestedHeader(models=(inner, inner)), program, program), {})


def test_without_a_sample_edge_texts_are_compared(tmp_path):
    context = dataclasses.replace(context_of_texts(tmp_path), sample=np.empty((0, 1)))
    assert plugin(imported_pipeline("hashed", context), context)


@pytest.mark.parametrize("rows", [0, 20])
def test_a_table_is_compared_without_a_sample_and_with_one_that_begins_without_a_text(rows, tmp_path):
    sample = ROWS[:rows].copy()
    sample[:1, 3] = np.nan
    context = dataclasses.replace(context_in(tmp_path), sample=sample)
    pipeline = make_pipeline(ENCODERS["words, characters, numbers and categories"], LogisticRegression())
    assert load_transform("text")(table_variant(pipeline.fit(TABLE, LABELS), context), context)


def test_a_missing_text_is_refused_as_the_vectorizer_refuses_it(tmp_path):
    context = context_of_texts(tmp_path)
    baseline = imported_pipeline("hashed", context)
    (variant,) = plugin(baseline, context)
    for item in (baseline, variant):
        with pytest.raises(EngineError):
            opened(item, context).predict(np.array([[np.nan]]))
    with pytest.raises(EngineError, match="the model reads"):
        opened(variant, context).predict(np.zeros((1, 2)))


def test_an_unknown_category_that_the_encoder_refuses_is_refused(tmp_path):
    context = dataclasses.replace(context_in(tmp_path), sample=ROWS)
    encoder = make_column_transformer((TfidfVectorizer(), "message"), (OneHotEncoder(), ["channel"]))
    baseline = table_variant(make_pipeline(encoder, LogisticRegression()).fit(TABLE, LABELS), context)
    (variant,) = plugin(baseline, context)
    unknown = ROWS[:1].copy()
    unknown[0, 2] = 7
    with pytest.raises(EngineError, match="rejects a value"):
        opened(variant, context).predict(unknown)


def test_a_model_without_texts_or_of_another_engine_does_not_apply(tmp_path):
    context = context_of_texts(tmp_path)
    variant = imported_pipeline("hashed", context)
    with pytest.raises(NotApplicable, match="pipelines over texts"):
        plugin(replace(variant, engine="text"), context)
    with pytest.raises(NotApplicable, match="pipelines over texts"):
        plugin(replace(variant, signature=Signature(inputs=SIGNATURE.inputs[:0])), context)


@pytest.mark.parametrize("name", ["trees", "onnx"])
def test_trees_over_texts_are_left_to_this_transform(name: str, tmp_path: Path) -> None:
    context = TransformContext(blobs=context_in(tmp_path).blobs, sample=text_rows())
    pipeline = make_pipeline(TfidfVectorizer(), XGBClassifier(n_estimators=2, n_jobs=1)).fit(
        TEXTS, np.arange(len(TEXTS)) % 2
    )
    with pytest.raises(NotApplicable, match="it reads texts"):
        load_transform(name)(imported_pipeline(pipeline, context), context)
