"""A temporary server of a variant: it answers requests built for its columns, and is gone afterwards."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from headway.core.config import Config
from headway.core.errors import EngineError
from headway.core.release import Contract, SelfTest
from headway.core.texts import text_codes
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.engines.sklearn import Sklearn
from headway.evaluation.load_generator import LoadGenerator
from headway.serving.settings.serve import ServeSection
from headway.serving.temporary_server import temporary_server
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow
COLUMNS = (Field(name="a"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA"), unseen="other"))


def test_a_server_that_refuses_the_variant_is_an_error_with_its_reason(tmp_path):
    blobs = Files(tmp_path)
    artifact = Artifact(format="echo", digest=blobs.put(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=COLUMNS))
    wrong = SelfTest(rows=((1.0, 1.0),), answers=((9.0,),))
    with (
        pytest.raises(EngineError, match="did not start"),
        temporary_server(Config(ServeSection(workers=1)), blobs, Contract(), wrong, variant),
    ):
        raise AssertionError("it must not start")


def test_categories_and_missing_values_are_sent_and_no_process_is_left(tmp_path):
    blobs = Files(tmp_path)
    artifact = Artifact(format="echo", digest=blobs.put(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=COLUMNS))
    rows = np.array([[2.0, 1.0], [2.0, 2.0], [4.0, np.nan]])
    test = SelfTest(rows=((1.0, 1.0),), answers=((1.0,),))
    with temporary_server(Config(ServeSection(workers=1)), blobs, Contract(), test, variant) as trial:
        with closing(LoadGenerator(trial, [trial.request(rows)], connections=1)) as caller:
            (call,) = caller.open_loop([0.0]).calls
        np.testing.assert_array_equal(trial.answers(call.body), [1.5, 2.0, np.nan])
    with pytest.raises(ProcessLookupError):
        os.killpg(trial.process, 0)


def test_texts_are_sent_as_strings(tmp_path):
    texts = ["where is my parcel", "my money back please"] * 20
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [0, 1] * 20)
    blobs, content = Files(tmp_path), Sklearn.import_model(pipeline).content
    artifact = Artifact(format="skops", digest=blobs.put(content), size_bytes=len(content))
    signature = Signature(inputs=(Field(name="text", datatype="BYTES", is_text=True),))
    variant = Variant(artifact=artifact, engine="sklearn", signature=signature)
    asked = ["my parcel", "caf\u00e9 \U0001f600", ""]
    rows = np.array([[text_codes[text]] for text in asked])
    expected = tuple(pipeline.predict_proba(asked)[:, 1].tolist())
    test = SelfTest(rows=((0.0,),), answers=((expected[0],),), texts={"text": ("my parcel",)})
    with (
        temporary_server(Config(ServeSection(workers=1)), blobs, Contract(), test, variant) as trial,
        closing(LoadGenerator(trial, [trial.request(rows)], connections=1)) as caller,
    ):
        (call,) = caller.open_loop([0.0]).calls
    np.testing.assert_allclose(np.ravel(trial.answers(call.body)), expected, atol=1e-9)
