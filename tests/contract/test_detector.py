"""Test every installed detector: one alarm, a p-value per feature, and no alarm without a change."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.monitoring.worlds import days, in_order

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Evidence, Machine
from headway.core.record import read, write
from headway.data.context import Windows, load_detector

DETECTORS = plugins.names("detector")


def pair(*, count: int = 60, by: float = 0.0) -> Windows:
    rows, day = days(np.random.default_rng(1), count=count, features=3)
    rows[day >= count // 2, 1] += by
    return in_order(rows, day)


@pytest.mark.parametrize("name", DETECTORS)
def test_it_declares_its_code_and_its_first_line_begins_with_it(name):
    [code] = plugins.declaration("detector", name, "CODES")
    assert re.fullmatch(r"O\d{3}", code) and plugins.describe("detector", name).startswith(f"{code}: ")


@pytest.mark.parametrize("name", DETECTORS)
def test_it_finds_a_shifted_feature_and_nothing_without_a_shift(name):
    detector = load_detector(name)
    shifted, unchanged = detector(pair(by=10.0)), detector(pair())
    assert shifted.alarm and any("x1" in finding.where for finding in shifted.findings)
    assert not unchanged.alarm and not unchanged.findings


@pytest.mark.parametrize("name", DETECTORS)
def test_all_features_are_measured_and_findings_carry_its_code(name):
    drift = load_detector(name)(pair(by=10.0))
    found = {measurement.slice: measurement for measurement in drift.measurements if measurement.name == "drift.p"}
    assert set(found) == {"", "x0", "x1", "x2"}
    assert all(0 < measurement.value <= 1 and measurement.n_rows == 2400 for measurement in found.values())
    assert {finding.code for finding in drift.findings} == set(plugins.declaration("detector", name, "CODES"))


@pytest.mark.parametrize("name", DETECTORS)
def test_equal_windows_give_equal_answers_and_stay_unchanged(name):
    windows = pair(by=1.0)
    before = [window.rows.copy() for window in (windows.before, windows.after)]
    assert load_detector(name)(windows) == load_detector(name)(windows)
    after = (windows.before.rows, windows.after.rows)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", DETECTORS)
def test_too_few_groups_are_refused_with_a_reason(name):
    with pytest.raises(NotApplicable, match="groups"):
        load_detector(name)(pair(count=6))


@pytest.mark.parametrize("name", DETECTORS)
def test_its_results_can_be_stored_as_evidence(name):
    drift = load_detector(name)(pair(by=10.0))
    evidence = Evidence(
        subject="",
        dataset="",
        period="",
        machine=Machine(cpu="", cores=1, system="", python=""),
        measurements=drift.measurements,
        findings=drift.findings,
    )
    assert read(Evidence, write(evidence)) == evidence
