"""Texts that nearly equal others, by MinHash."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from headway.data.leakage.similar_texts import MIN_JACCARD, find_similar, normal_form


def similar(known: list[str | None], texts: list[str | None]) -> list[int]:
    forms = (normal_form(pl.Series(values, dtype=pl.String)) for values in (known, texts))
    return find_similar(*forms).source.tolist()


def test_case_white_space_punctuation_and_width_do_not_count():
    assert normal_form(pl.Series(["  Where's\tMY parcel?! ", "ＡＢＣ", "...", None])).to_list() == [
        "where s my parcel",
        "abc",
        None,
        None,
    ]
    assert similar(["the parcel", "我的包裹在哪里"], ["THE  parcel.", "我的包裹在哪里？", "?"]) == [0, 1, -1]


def test_nearly_all_texts_with_one_changed_letter_are_found():
    draw = np.random.default_rng(0)
    known = [" ".join(row) for row in draw.choice([f"w{number}x" for number in range(3_000)], (2_000, 12))]
    at = draw.integers(0, 40, 2_000)
    changed = [f"{text[:index]}q{text[index + 1 :]}" for text, index in zip(known, at, strict=True)]
    found = np.array(similar(known, changed))
    assert (found == np.arange(2_000)).mean() > 0.98
    assert set(similar(known[:1_000], known[1_000:])) == {-1}


@given(st.lists(st.text(max_size=30), max_size=8), st.lists(st.text(max_size=30), max_size=8))
def test_a_pair_that_is_found_is_as_similar_as_promised(known, texts):
    forms = [normal_form(pl.Series(values, dtype=pl.String)) for values in (known, texts)]
    for text, source in zip(forms[1].to_list(), find_similar(*forms).source.tolist(), strict=True):
        if source >= 0:
            one, two = (
                {value.ljust(4)[at : at + 4] for at in range(max(1, len(value) - 3))}
                for value in (text, forms[0][source])
            )
            assert len(one & two) >= MIN_JACCARD * len(one | two)
        elif text is not None:
            assert text not in forms[0].to_list()
