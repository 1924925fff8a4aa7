"""Corrupted texts: each change is the same in every run, and the audit counts the decisions that it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.evaluation.audits import robustness
from headway.evaluation.context import AuditContext
from headway.evaluation.statistics.proportions import upper_share
from headway.evaluation.text_corruptions import (
    NEIGHBORS,
    PHRASES,
    TEXT_KINDS,
    add_typos,
    read_paraphrases,
    remove_accents,
    text_changes,
)
from headway.storage.blobs.files import Files

CHANGES = text_changes({"phrases": PHRASES})


class SaysRefund:
    """Predicts 1 for a text with the word `refund` in lower case."""

    def predict(self, rows):
        return np.array([[float("refund" in (text or "").split())] for text in text_codes.texts(rows[:, 0])])


@given(st.text(max_size=60), st.sampled_from([(kind, name) for kind in CHANGES for name in CHANGES[kind]]))
def test_any_text_is_changed_in_the_same_way_each_time(text, change):
    kind, name = change
    assert CHANGES[kind][name](text) == CHANGES[kind][name](text)


def test_the_keys_next_to_a_key_are_those_of_a_keyboard():
    assert set(NEIGHBORS["g"]) == set("fhtyvb") and set(NEIGHBORS["q"]) == set("wa")


@given(st.text("abcdefghij ", min_size=1, max_size=40))
def test_one_typo_changes_the_length_by_one_at_most(text):
    assert abs(len(add_typos(text, count=1)) - len(text)) <= 1


def test_longer_texts_have_more_typos_and_texts_without_letters_none():
    text = "where is my parcel it should have arrived by now " * 4
    assert add_typos("12 34!") == "12 34!"
    own, once = (sum(a != b for a, b in zip(text, found, strict=False)) for found in (add_typos(text), text[:9]))
    assert own > once


@pytest.mark.parametrize(
    ("kind", "name", "text", "changed_text"),
    [
        ("case", "upper case", "My card", "MY CARD"),
        ("case", "lower case", "My CARD", "my card"),
        ("truncated", "first half of the words", "one two three", "one two"),
        ("truncated", "first 5 words", "1 2 3 4 5 6", "1 2 3 4 5"),
        ("spaces", "doubled", "my card", " my  card\n"),
        ("spaces", "one missing", "my card", "mycard"),
        ("spaces", "one missing", "card", "card"),
        ("accents", "without", "Où est ça", "Ou est ca"),
        ("accents", "typographic quotes", 'don\'t say "no"', "don\u2019t say \u201cno\u201d"),
        ("paraphrase", "phrases", "I can\u2019t, PLEASE help", "I cannot, kindly help"),
        ("paraphrase", "phrases", "pleased", "pleased"),
    ],
)
def test_a_text_is_changed_as_named(kind, name, text, changed_text):
    assert CHANGES[kind][name](text) == changed_text


def test_letters_without_a_base_letter_stay():
    assert remove_accents("straße 東京") == "straße 東京"


def test_a_table_of_paraphrases_is_read(tmp_path):
    file = tmp_path / "ours.csv"
    file.write_text("\ufeffphrase,paraphrase\nmy parcel,the box I ordered\n", encoding="utf-8")
    table = text_changes({"ours": read_paraphrases(file)})["paraphrase"]["ours"]
    assert table("Where is MY PARCEL?") == "Where is the box I ordered?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"phrase,paraphrase\n", "is missing"),
        (b"phrase,paraphrase\nhello,\n", "is missing"),
        (b"one,two\nhello,hi\n", "is missing"),
    ],
)
def test_a_file_that_is_not_a_table_of_paraphrases_is_refused(tmp_path, content, message):
    file = tmp_path / "ours.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_paraphrases(file)


@pytest.fixture
def audited(make_subject, tmp_path):
    """Messages of 40 days, half of which ask for a refund, audited with a table of paraphrases."""
    found = make_subject(count=40)
    refund = np.arange(len(found.labels)) % 2 == 0
    texts = [f"please refund my order {row}" if own else f"parcel {row} is late" for row, own in enumerate(refund)]
    signature = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),))
    rows = np.array(text_codes.keep(texts))[:, None]
    model = SaysRefund()
    scores = model.predict(rows)
    subject = replace(
        found,
        variant=changed(found.variant, signature=signature),
        rows=rows,
        labels=refund.astype(float),
        threshold=0.5,
        model=model,
        reference=model,
        scores=scores,
        reference_scores=scores,
    )
    table = {"phrases of ours.csv": [("refund", "money back")]}
    context = AuditContext(blobs=Files(tmp_path), budget_s=60, paraphrases=table)
    return robustness.plugin(subject, context)


@pytest.mark.slow
def test_the_audit_counts_decisions_among_the_texts_that_change(audited):
    found = {(one.name.removeprefix("robustness."), one.slice): one for one in audited if isinstance(one, Measurement)}
    assert {name.split(".")[0] for name, _ in found} == set(TEXT_KINDS)
    assert found["paraphrase.changed_decisions", "message phrases of ours.csv"].value == 1
    assert found["paraphrase.changed_decisions", "message phrases of headway"].value == 0
    assert found["case.changed_decisions", "message upper case"].value == pytest.approx(0.5, abs=0.02)
    assert 0 < found["typos.changed_decisions", "message 1 typo"].value < 0.5
    accents = found["accents.changed_decisions", "message without"]
    assert accents.value == 0 and accents.high == pytest.approx(upper_share(0.0, accents.effective_rows, 0.025))
    assert all(one.value == 0 for (name, _), one in found.items() if name.endswith("decision_churn"))
