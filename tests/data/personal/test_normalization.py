"""Plain spelling of texts, and where its characters are in the original."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.data.personal.normalization import PlainText
from headway.data.personal.patterns import IN_TEXT, Hit, find_in_text, replace_hits, replace_personal

INVISIBLE = "\u200b\u200d\u00ad\u2060\ufeff\u202e\u2066\u0301\ufe0f\x00"
AROUND = "abc \u00e9\u00df\ufb01\u6f22\u2460\u00bd\ufdfa\ud55c\U0001f600\u00ad\u0301,"


@pytest.mark.parametrize(
    ("original", "plain"),
    [
        ("plain \t text\n", "plain \t text\n"),
        ("\uff24\uff25\uff18\uff19", "DE89"),
        ("\u0664\u09e7\u0967", "411"),
        ("a\u200bd\u00ada\u202e", "ada"),
        ("M\u00e4rz ne\u0301e", "Marz nee"),
        ("1\u00a02\u20113\u22124", "1 2-3-4"),
        ("ada\uff20b\u3002de", "ada@b.de"),
        ("\ufdfa", "\ufdfa"),
        ("", ""),
    ],
)
def test_a_text_is_spelled_plainly(original, plain):
    assert PlainText(original).text == plain


@given(st.text(max_size=60))
def test_a_plain_spelling_is_plain_and_each_of_its_characters_comes_from_one_place_in_order(text):
    plain = PlainText(text)
    assert PlainText(plain.text).text == plain.text
    spans = [plain.original_span(index, index + 1) for index in range(len(plain.text))]
    assert spans == sorted(spans) and all(0 <= start == end - 1 < len(text) for start, end in spans)
    assert all(
        PlainText(text[start:end]).text.count(letter) for (start, end), letter in zip(spans, plain.text, strict=True)
    )


@given(data=st.data(), before=st.text(AROUND, max_size=8), after=st.text(AROUND, max_size=8))
@settings(deadline=None)
def test_what_is_replaced_is_the_whole_span_of_the_original_and_nothing_else(data, before, after):
    letters = "DE89370400440532013000"
    gaps = data.draw(st.lists(st.text(INVISIBLE, max_size=2), min_size=len(letters) - 1, max_size=len(letters) - 1))
    wide = data.draw(st.lists(st.booleans(), min_size=len(letters), max_size=len(letters)))
    spelled = [chr(ord(letter) + 0xFEE0) if is_wide else letter for letter, is_wide in zip(letters, wide, strict=True)]
    piece = "".join(letter + gap for letter, gap in zip(spelled, [*gaps, ""], strict=True))

    text = f"{before} {piece} {after}"
    assert replace_personal(text) == f"{before} [iban] {after}"
    assert find_in_text(text, IN_TEXT) == [Hit("iban", len(before) + 1, len(before) + 1 + len(piece))]


def test_hits_are_replaced_in_any_order():
    hits = [Hit("phone", 8, 9), Hit("email", 0, 3)]
    assert replace_hits("ada and 7!", hits, lambda hit: f"<{hit.kind}>") == "<email> and <phone>!"
