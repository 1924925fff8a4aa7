from __future__ import annotations

import sys

import pytest
from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.core.errors import NotApplicable
from headway.data.checks.personal.names_in_text import plugin
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection

NOTES = [f"ticket {row}" for row in range(398)] + ["call John Smith back", "as Mary Jones said, and Tom Baker"]
DATASET = with_column(small(), note=NOTES)


def test_a_column_of_notes_is_undecided_with_its_count_and_a_masked_name():
    (found,) = plugin(CheckContext(dataset=DATASET))

    assert (found.code, found.severity, found.measured) == ("D054", "undecided", 2 / 400)
    assert found.message == "'note' holds names of people in 2 of 400 values, such as xxxx xxxxx"


def test_kept_columns_and_tables_without_names_have_no_finding():
    section = PersonalSection(keep={"note": "read by the help desk alone"})
    assert plugin(CheckContext(dataset=DATASET, config=Config(section))) == plugin(CheckContext(dataset=small())) == []
    assert plugin(CheckContext(dataset=with_column(small(), note=["New York"] * 400))) == []


def test_places_that_are_named_after_people_are_not_names_of_people():
    airports = [
        "Martin Campbell Field",
        "Jimmy Carter Regional",
        *(f"{word} City Airport" for word in "ABCDEFGHIJKLMN"),
    ]
    towns = ["Marco Island", "Myrtle Beach", *(f"{word}burgh" for word in "ABCDEFGHIJKLMNOPQRST")]
    columns = {"airport": (airports * 25)[:400], "town": (towns * 19)[:400]}
    assert plugin(CheckContext(dataset=with_column(small(), **columns))) == []


def test_a_column_of_people_has_a_finding_though_many_names_are_unknown():
    people = ["John Smith", "Mary Jones", "Xu Wei", "Nguyen Van An"] * 100
    (found,) = plugin(CheckContext(dataset=with_column(small(), clerk=people)))
    assert (found.where, found.measured) == ("column clerk", 0.5)


def test_it_cannot_judge_without_the_lists_of_names(monkeypatch):
    monkeypatch.setitem(sys.modules, "names", None)
    monkeypatch.delitem(sys.modules, "headway.data.personal._names", raising=False)
    with pytest.raises(NotApplicable, match="finding names of people in texts needs 'names'"):
        plugin(CheckContext(dataset=DATASET))
    assert plugin(CheckContext(dataset=small())) == []
