from __future__ import annotations

from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.data.checks.personal.personal_in_text import plugin
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection

NOTES = [f"ticket {row}" for row in range(398)] + ["mail ada@example.org, 192.168.17.4", "bob@example.org did"]
DATASET = with_column(small(), note=NOTES)


def test_a_column_of_notes_is_undecided_with_its_counts():
    (found,) = plugin(CheckContext(dataset=DATASET))

    assert (found.severity, found.measured) == ("undecided", 2 / 400)
    assert "email in 2 (such as xxx@xxxxxxx.xxx), ip in 1 (such as 999.999.99.9)" in found.message


def test_a_kept_column_has_no_finding():
    section = PersonalSection(keep={"note": "read by the help desk alone"})
    assert plugin(CheckContext(dataset=DATASET, config=Config(section))) == []
