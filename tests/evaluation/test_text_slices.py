"""Texts in slices and in the ablation: their script, and what words and their order add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed

from headway.core.evidence import Measurement
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.data.texts import script_of
from headway.evaluation.audits import ablation
from headway.evaluation.context import AuditContext
from headway.evaluation.slice_finder import bin_columns
from headway.storage.blobs.files import Files


class ReadsWords:
    """Predicts 1 for a text with all of some words next to each other."""

    def __init__(self, phrase: str) -> None:
        self.phrase = phrase

    def predict(self, rows):
        return np.array([[float(self.phrase in (text or ""))] for text in text_codes.texts(rows[:, 0])])


def subject_of(made, texts: list[str], phrase: str):
    """Return a comparison of a model that reads the texts, which are repeated."""
    texts = [texts[row % len(texts)] for row in range(len(made.labels))]
    signature = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),))
    rows = np.array(text_codes.keep(texts))[:, None]
    model = ReadsWords(phrase)
    scores = model.predict(rows)
    variant = changed(made.variant, signature=signature)
    own = {"variant": variant, "rows": rows, "labels": scores[:, 0], "model": model, "reference": model}
    return replace(made, **own, scores=scores, reference_scores=scores, threshold=0.5)


@pytest.fixture
def shuffled(make_subject, tmp_path):
    """The increase of the error with words or letters shuffled, for a model that reads a phrase."""

    def measure(phrase: str, budget_s: float = 60) -> dict[str, float]:
        texts = ["give my money back soon please friend", "where is it now that I paid for all"]
        context = AuditContext(blobs=Files(tmp_path), budget_s=budget_s)
        found = ablation.plugin(subject_of(make_subject(count=40), texts, phrase), context)
        measured = (one for one in found if isinstance(one, Measurement) and "without" in one.slice)
        return {one.slice: one.value for one in measured}

    return measure


def test_a_model_of_single_words_does_not_need_their_order(shuffled):
    found = shuffled("money")
    assert found["message without the order of words"] == 0
    assert found["message without words"] == pytest.approx(0.5, abs=0.02)


def test_a_model_of_phrases_needs_the_order_of_words(shuffled):
    assert shuffled("money back soon please")["message without the order of words"] == pytest.approx(0.5, abs=0.02)


def test_without_time_no_text_is_shuffled(shuffled):
    assert shuffled("money", budget_s=1e-9) == {}


def test_slices_of_texts_have_their_script(make_subject):
    texts = ["where is it", "где моя посылка", "42"]
    columns = bin_columns(subject_of(make_subject(count=40), texts, "where"), 10)
    labels = {column.label(level) for column in columns for level in range(column.count)}
    assert {"message in latin letters", "message in cyrillic letters", "message in no letters"} <= labels


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Ünder", "latin"),
        ("مرحبا", "arabic"),
        ("hi привет всем", "cyrillic"),
        ("", ""),
        ("😀 7", ""),
        ("カード", "katakana"),
    ],
)
def test_the_script_is_that_of_most_letters(text, script):
    assert script_of(text) == script
