"""Audit `start`: a start is a separate process, measured up to its first answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.contract.subjects import echo_comparison

from headway.core.errors import EngineError, NotApplicable
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.engines.sklearn import Sklearn
from headway.evaluation.audits import start
from headway.evaluation.context import AuditContext
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow


@pytest.fixture
def subject(tmp_path):
    """The echo engine, which needs no library."""
    found = echo_comparison(groups=2)
    digest = Files(tmp_path).put(b"echo")
    artifact = changed(found.variant.artifact, digest=digest)
    return replace(found, variant=changed(found.variant, artifact=artifact))


def test_seconds_and_memory_are_those_of_a_process_that_answered(subject, tmp_path):
    seconds, memory = start.plugin(subject, AuditContext(blobs=Files(tmp_path), budget_s=3_600))
    assert (start.STARTS, seconds.n_rows, seconds.unit, memory.unit) == (11, 11, "s", "MB")
    assert 0.01 < seconds.low <= seconds.value <= seconds.high and 5 < memory.value < 500


def test_a_single_start_gives_no_measurement(subject, tmp_path):
    with pytest.raises(NotApplicable, match=r"start\.seconds needs 11 starts, there are 1") as raised:
        start.plugin(subject, AuditContext(blobs=Files(tmp_path), budget_s=1e-9))
    assert raised.value.hint == "headway evaluate --budget 5m"


def test_a_model_that_fails_in_the_process_is_an_error_with_its_last_line(subject, tmp_path):
    digest = Files(tmp_path).put(b"no echo")
    artifact = changed(subject.variant.artifact, digest=digest)
    broken = replace(subject, variant=changed(subject.variant, artifact=artifact))
    with pytest.raises(EngineError, match=r"in a new process: .*not an echo model"):
        start.plugin(broken, AuditContext(blobs=Files(tmp_path), budget_s=60))


def test_without_a_row_there_is_nothing_to_answer(subject, tmp_path):
    with pytest.raises(NotApplicable, match="no row"):
        start.plugin(replace(subject, rows=subject.rows[:0]), AuditContext(blobs=Files(tmp_path), budget_s=60))


def test_a_row_of_texts_is_answered_in_the_new_process(subject, tmp_path):
    texts = ["where is my parcel", "my money back"]
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [0, 1])
    signature = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),))
    content, signature = Sklearn.bind(Sklearn.import_model(model).content, signature)
    artifact = changed(subject.variant.artifact, digest=Files(tmp_path).put(content))
    variant = changed(subject.variant, artifact=artifact, engine="sklearn", signature=signature)
    read = replace(subject, variant=variant, rows=np.array(text_codes.keep(texts))[:, None])
    with pytest.raises(NotApplicable, match="there are 1"):  # a process that fails is an EngineError
        start.plugin(read, AuditContext(blobs=Files(tmp_path), budget_s=1e-9))
