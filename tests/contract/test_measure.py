"""Every file of measures, headway's own and of other packages, says what readers and policies need."""

from __future__ import annotations

from collections import Counter

import pytest

from headway.core import plugins
from headway.core.measure import Measure, MeasurePrefix, measures, quality_measures
from headway.reporting.text import formatting, words

FILES = plugins.names("measure")


def entries(file: str) -> tuple[Measure | MeasurePrefix, ...]:
    return tuple(plugins.load("measure", file))


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_measures_or_beginnings_of_their_names(file: str) -> None:
    assert entries(file) and all(isinstance(entry, Measure | MeasurePrefix) for entry in entries(file))


def test_no_measure_is_described_twice() -> None:
    names = Counter(entry.name for file in FILES for entry in entries(file) if isinstance(entry, Measure))
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("file", FILES)
def test_an_explanation_is_a_sentence_and_a_title_and_a_violation_are_none(file: str) -> None:
    for entry in entries(file):
        assert not entry.explanation or entry.explanation.endswith(".")
        assert not entry.title.endswith(".") and not entry.violation.endswith(".")


def test_a_measure_of_another_package_is_called_formatted_and_judged_by_what_it_declares() -> None:
    assert "greetings" in quality_measures()
    assert measures()["greetings"].is_share and words.is_known_measure("greetings")
    assert words.measure_title("greetings") == "Rows that are greeted"
    assert words.measure_symbol("greetings.drop") == "greeted"
    assert words.describe_violation("greetings") == "It greets fewer rows than allowed"
    assert formatting.format_limit(0.05, "greetings") == "5 %"
