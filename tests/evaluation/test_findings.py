"""E003: findings of the ablation audits."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.evaluation.measure import ablation_findings
from headway.evaluation.statistics.claims import flag_parts
from headway.evaluation.statistics.intervals import Sample, jackknife_interval

LOST = jackknife_interval(
    "ablation.retrained.brier.drop", -0.02, np.linspace(-0.03, -0.01, 40), Sample(n_rows=9, n_groups=40)
)


def test_a_harmful_feature_has_its_own_finding_with_the_drop_without_it():
    words = flag_parts("ablation.harmful", {"temp": "shown, at 5 % over all parts"}, n_rows=9)
    [found] = ablation_findings([replace(LOST, slice="other"), replace(LOST, slice="temp"), *words])
    assert (found.code, found.severity, found.measured, found.limit) == ("E003", "warn", -0.02, 0.0)
    assert "'temp' does harm" in found.message and "brier.drop without it is -0.02 [" in found.message
    assert "retrain" in found.hint


def test_useless_parts_share_one_finding_and_undecided_ones_another():
    words = flag_parts("components.nothing", {"fold": "no", "threads(threads=2)": "no"}, n_rows=9)
    words += flag_parts("ablation.unsettled", {"dest": "about 300 groups would decide"}, n_rows=9)
    undecided, nothing = ablation_findings(words)
    assert undecided.message == "features undecided: dest (about 300 groups would decide)"
    assert nothing.message.startswith("parts without effect") and nothing.message.endswith(": fold; threads(threads=2)")
    assert {undecided.severity, nothing.severity} == {"note"}


def test_a_harmful_part_has_a_finding_and_no_part_has_none():
    assert ablation_findings(flag_parts("components.harmful", {}, n_rows=9)) == []
    [found] = ablation_findings(flag_parts("components.harmful", {"calibrator": "worse with it"}, n_rows=9))
    assert "the part 'calibrator' does harm: worse with it" in found.message and found.measured is None
