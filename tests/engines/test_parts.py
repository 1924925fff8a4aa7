"""A field of a decoded file is what was asked for, or is named with its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headway.engines.formats.ubjson import Section

PART = Section(
    {
        "text": "a",
        "count": "12",
        "number": 3,
        "far": "9" * 30,
        "truths": [True, False],
        "numbers": [1, 2.5],
        "huge": [10**30],
        "none": [],
        "array": np.array([1, 2], np.int16),
        "inner": {"deep": {"x": None}},
        "mixed": [1, "a"],
    },
    "file",
)


def test_each_kind_is_given_as_it_was_asked_for() -> None:
    assert (PART.text("text"), PART.count("count", 0, 20), PART.count("number", 0, 20)) == ("a", 12, 3)
    assert PART.ints("truths").tolist() == [1, 0] and PART.floats("numbers", 2).tolist() == [1.0, 2.5]
    assert PART.ints("none").dtype == np.int64 and PART.ints("array", 2).dtype == np.int64
    assert PART.list("array") == [1, 2] and list(PART.parts()) == ["inner"] and not PART.has("nowhere")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: PART.text("nowhere"), r"file\.nowhere is not there"),
        (lambda: PART.text("count").join(PART.text("number")), r"file\.number: no text"),
        (lambda: PART.part("text"), r"file\.text: no mapping"),
        (lambda: PART.part("inner").part("deep").text("x"), r"file\.inner\.deep\.x: no text"),
        (lambda: PART.list("text"), r"file\.text: no list"),
        (lambda: PART.count("count", 0, 11), r"file\.count is '12', not a whole number from 0 to 11"),
        (lambda: PART.count("text", 0, 11), r"file\.text is 'a'"),
        (lambda: PART.count("far", 0, 11), r"file\.far is"),
        (lambda: PART.ints("numbers"), r"file\.numbers: no list of whole numbers"),
        (lambda: PART.ints("mixed"), r"file\.mixed: no list of numbers"),
        (lambda: PART.floats("huge"), r"file\.huge: no list of numbers"),
        (lambda: PART.floats("text"), r"file\.text: no list of numbers"),
        (lambda: PART.ints("array", 3), r"file\.array: 2 numbers in place of 3"),
        (lambda: PART.part("inner").texts(), r"file\.inner\.deep: no text"),
        (lambda: Section([]), "the whole: no mapping"),
    ],
)
def test_another_kind_is_refused_with_the_place(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask()
