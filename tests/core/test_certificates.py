"""A certificate of selective answering."""

from __future__ import annotations

import math

import msgspec

from headway.core.evidence import Measurement
from headway.core.record import canonical
from headway.core.selective import AnswerPlan, SelectiveCertificate


def test_a_certificate_without_a_threshold_certifies_nothing():
    share = Measurement(
        name="selective.coverage", value=0.5, low=0.4, high=0.6, method="a test", level=0.95, n_rows=10, n_groups=0
    )
    found = [
        SelectiveCertificate(threshold=threshold, coverage=share, risk=share, limit=0.1)
        for threshold in (0.8, math.inf)
    ]
    assert [one.is_certified for one in found] == [True, False]


def test_a_plan_that_certifies_nothing_is_stored():
    share = Measurement(name="selective.coverage", value=0.0, low=0.0, high=0.0, method="a test", n_rows=10)
    plan = AnswerPlan(
        rule="margin", thresholds={}, certificate=SelectiveCertificate(coverage=share, risk=share, limit=0.1)
    )
    read = msgspec.json.decode(canonical(plan), type=AnswerPlan)
    assert (read, read.certificate.is_certified) == (plan, False)
