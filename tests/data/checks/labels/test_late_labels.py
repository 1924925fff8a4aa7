from __future__ import annotations

import pytest
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.labeling import Delays, Labeling
from headway.data.checks.labels.late_labels import plugin
from headway.data.context import CheckContext


def late_context(late: Measurement | None, declared_s: float = 86400.0) -> CheckContext:
    found = Delays(n_requests=100, n_labeled=80, declared_s=declared_s, quantiles=(), late=late)
    return CheckContext(dataset=small(), labeling=Labeling(delays=lambda: found))


def share(low: float, high: float) -> Measurement:
    return Measurement(name="labels.late", value=(low + high) / 2, low=low, high=high, method="", n_rows=100)


@pytest.mark.parametrize(
    ("late", "severity"),
    [(share(0.1, 0.2), ["warn"]), (share(0.02, 0.2), ["undecided"]), (share(0.0, 0.04), [])],
)
def test_the_severity_of_late_labels_follows_the_interval(late, severity):
    assert [finding.severity for finding in plugin(late_context(late))] == severity


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (CheckContext(dataset=small()), "answered no request"),
        (late_context(None, declared_s=0.0), "delay of labels is not declared"),
        (late_context(None), "old enough"),
    ],
)
def test_it_reports_why_it_cannot_judge(context, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(context)
