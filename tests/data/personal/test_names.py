"""Names of people in texts: what is found by lists and form, and what only looks like it."""

from __future__ import annotations

import pytest

from headway.data.personal.names import name_finder

FIND = name_finder()


def found(text: str) -> list[str]:
    return [text[span.start : span.end] for span in FIND(text)]


@pytest.mark.parametrize(
    "name",
    [
        "Justin Mason",
        "John P. Looney",
        "George W Bush",
        "Ian Andrew Bell",
        "Kevin O'Callaghan",
        "Steve McKay",
        "Mary Smith-Jones",
    ],
)
def test_a_given_name_with_a_surname_is_found(name):
    text = f"said on Monday, {name} wrote: I will be there."
    assert found(text) == [name]


@pytest.mark.parametrize("text", ["Dr. Rajcoomar asked", "ask Mr Bamping that", "and Ms. Grosvenor says"])
def test_a_title_makes_a_name_of_any_word_after_it(text):
    (name,) = found(text)
    assert name in ("Rajcoomar", "Bamping", "Grosvenor")


@pytest.mark.parametrize(
    "text",
    [
        "In July we met. Will You come? My Password To Success",
        "from Hong Kong to San Jose and South Street",
        "version 2.4 of the Linux Kernel",
        "justin mason wrote",
        "Best Regards",
        "",
    ],
)
def test_text_that_resembles_a_name_is_not_found(text):
    assert found(text) == []


def test_of_three_words_the_two_that_form_a_name_are_found():
    assert found("Matthew Carter Quux was there") == ["Matthew Carter"]
    assert found("Quux Matthew Carter was there") == ["Matthew Carter"]


def test_two_names_do_not_share_a_word():
    assert found("Dr. Bob Miller, and James Smith") == ["Bob Miller", "James Smith"]
