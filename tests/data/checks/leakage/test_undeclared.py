from __future__ import annotations

from tests.data.tables import says, small

from headway.core.contracts import Survey
from headway.data.checks.leakage.undeclared import plugin


def test_features_of_which_nobody_said_when_they_are_known_are_undecided():
    assert says(plugin, Survey(dataset=small(known={"hour": "request"}))) == ["undecided [data.known]"]
    assert says(plugin, Survey(dataset=small(known={"hour": "request", "carrier": "request"}))) == []
