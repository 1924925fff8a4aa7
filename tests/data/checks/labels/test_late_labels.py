from __future__ import annotations

import pytest
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.labeling import Delays, Labeling
from headway.data.checks.labels.late_labels import plugin
from headway.data.context import CheckContext


def context(late: Measurement | None, declared_s: float = 86400.0) -> CheckContext:
    found = Delays(n_requests=100, n_labeled=80, declared_s=declared_s, quantiles=(), late=late)
    return CheckContext(dataset=small(), labeling=Labeling(delays=lambda: found))


def share(low: float, high: float) -> Measurement:
    return Measurement(name="labels.late", value=(low + high) / 2, low=low, high=high, method="", n_rows=100)


@pytest.mark.parametrize(
    ("late", "severity"),
    [(share(0.1, 0.2), ["warn"]), (share(0.02, 0.2), ["undecided"]), (share(0.0, 0.04), [])],
)
def test_labels_that_miss_their_day_are_told_by_the_interval(late, severity):
    assert [each.severity for each in plugin(context(late))] == severity


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (CheckContext(dataset=small()), "answered no request"),
        (context(None, declared_s=0.0), "delay of labels is not declared"),
        (context(None), "old enough"),
    ],
)
def test_it_says_why_it_cannot_judge(asked, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(asked)
