from __future__ import annotations

from dataclasses import replace

from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.data.checks.personal.policy_applied import plugin
from headway.data.context import CheckContext
from headway.data.settings.personal import PersonalSection


def test_actions_are_listed_with_the_reason_of_kept_columns():
    done = {"personal.who": "keep", "personal.hour": "keep", "personal.name": "drop", "personal.id": "hash"}
    dataset = replace(with_column(small(), who=["ada@example.org"] * 400), provenance=done)
    keep = {"who": "answers go there", "hour": "so"}
    found = plugin(CheckContext(dataset=dataset, config=Config(PersonalSection(keep=keep))))

    assert [finding.message for finding in found] == [
        "'who' is kept (email in 1 of 1 values): answers go there",
        "'hour' is kept (no pattern matches): so",
        "'name' was dropped when the data was opened",
        "'id' is a keyed hash, which can be grouped by but is not a feature",
    ]


def test_changed_texts_are_listed():
    dataset = replace(small(), provenance={"personal.carrier": "email in its texts: drop"})
    assert plugin(CheckContext(dataset=dataset))[0].message == "'carrier' was changed: email in its texts: drop"
