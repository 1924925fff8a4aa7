from __future__ import annotations

from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.data.checks.personal.personal_column import plugin
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection

DATASET = with_column(
    small(),
    who=[f"user{row}@example.org" for row in range(400)],
    call=[f"+44 20 7946 0{row:03}" for row in range(400)],
)


def test_addresses_stop_and_phone_numbers_are_undecided():
    assert [(finding.where, finding.severity) for finding in plugin(CheckContext(dataset=DATASET))] == [
        ("column who", "stop"),
        ("column call", "undecided"),
    ]


def test_the_finding_contains_no_value():
    message = plugin(CheckContext(dataset=DATASET))[0].message
    assert message == "'who' is email: 400 of 400 values, such as xxxx9@xxxxxxx.xxx"


def test_columns_and_kinds_that_are_kept_have_no_finding():
    section = PersonalSection(keep={"who": "answers go there", "phone": "ours"})
    assert plugin(CheckContext(dataset=DATASET, config=Config(section))) == []
