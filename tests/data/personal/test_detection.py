from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.data.personal import checksums
from headway.data.personal.detection import MAX_VALUES, find_in_column, find_personal_data
from headway.data.personal.patterns import IN_TEXT, find_in_text

pytestmark = pytest.mark.slow


def test_unique_values_are_counted_and_the_example_is_masked():
    (found,) = find_personal_data(
        pl.DataFrame({"who": ["ada@example.org", "ada@example.org", None, "bob@example.org"]})
    )

    assert (found.column, found.kind, found.values, found.whole_values, found.searched) == ("who", "email", 2, 2, 2)
    assert (found.example, found.is_the_column) == ("xxx@xxxxxxx.xxx", True)


def test_personal_data_in_longer_texts_does_not_make_the_column_personal():
    found = find_personal_data(
        pl.DataFrame({"note": ["call +44 20 7946 0958", "mail a.b@example.org or c@example.org", "no"]})
    )
    assert [(match.kind, match.values, match.whole_values, match.is_the_column) for match in found] == [
        ("email", 1, 0, False),
        ("phone", 1, 0, False),
    ]


def test_random_numbers_with_a_valid_digit_by_chance_are_not_cards():
    draw = np.random.default_rng(0).integers(4 * 10**15, 5 * 10**15, 1000)
    cards = [number for number in draw.tolist() if checksums.luhn(str(number))]

    assert find_personal_data(pl.DataFrame({"order": draw, "text": draw.astype(str)})) == []
    assert [match.kind for match in find_personal_data(pl.DataFrame({"card": cards}))] == ["card"]


def test_a_column_of_bare_ids_is_found_by_its_check_digits():
    ids = [number for number in range(10**8, 10**8 + 5000) if checksums.bsn(str(number))]
    assert [(match.column, match.kind) for match in find_personal_data(pl.DataFrame({"bsn": ids}))] == [
        ("bsn", "national_id")
    ]


def test_small_numbers_and_other_types_are_not_searched():
    table = pl.DataFrame({"a": [1, 2], "b": [1.5, 2.5], "c": [True, False]}, schema_overrides={"a": pl.Int64})
    assert find_personal_data(table) == find_personal_data(table.clear()) == []


def test_a_sample_of_very_many_values_is_searched_and_counted():
    values = pl.int_range(3 * MAX_VALUES, eager=True).cast(pl.String) + "@example.org"
    (found,) = find_personal_data(pl.DataFrame({"who": values}))
    assert found.values == found.searched == MAX_VALUES


def test_an_excluded_column_is_not_searched():
    assert find_personal_data(pl.DataFrame({"who": ["ada@example.org"]}), exclude=["who"]) == []


def test_an_extension_does_not_count_towards_the_length_of_a_phone_number():
    assert find_in_text("it is +100000ext0 now", IN_TEXT) == []
    assert [hit.kind for hit in find_in_text("it is +1002000ext0 now", IN_TEXT)] == ["phone"]


@pytest.mark.slow
@pytest.mark.parametrize("form", IN_TEXT, ids=lambda form: f"{form.kind} {form.needs[:40]}")
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_prefilter_of_a_column_passes_every_match(form, data):
    before = data.draw(st.sampled_from(["it is ", "", "(", "1", "x@", "\u00e9", "[", "+"]))
    text = f"{before}{data.draw(st.from_regex(form.pattern, fullmatch=True))} now"
    kinds = {hit.kind for line in text.split("\n") for hit in find_in_text(line, IN_TEXT)}
    assert kinds == {match.kind for match in find_in_column(pl.Series("x", [text, "none"]))}


def test_each_kind_in_a_text_of_several_lines_is_counted_once():
    mail = "From: ada@example.org\nTo: bob@example.org\n\nHi,\nit is 10.1.2.3 or bob@example.org\r\n"
    found = find_personal_data(pl.DataFrame({"mail": [mail, "ada@example.org\n", "none"]}))
    assert [(match.kind, match.values, match.whole_values) for match in found] == [("email", 2, 1), ("ip", 1, 0)]


def test_digits_of_other_scripts_are_accepted():
    assert find_personal_data(pl.DataFrame({"x": ["\u0664" * 16, "\u0664" * 10, "4\u0661" * 8]})) == []
