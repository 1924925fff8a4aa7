"""A certificate of selective answering."""

from __future__ import annotations

import math

from headway.core.evidence import Measurement
from headway.core.selective import SelectiveCertificate


def test_a_certificate_without_a_threshold_certifies_nothing():
    share = Measurement(
        name="selective.coverage", value=0.5, low=0.4, high=0.6, method="a test", level=0.95, n_rows=10, n_groups=0
    )
    found = [
        SelectiveCertificate(threshold=threshold, coverage=share, risk=share, limit=0.1)
        for threshold in (0.8, math.inf)
    ]
    assert [one.is_certified for one in found] == [True, False]
