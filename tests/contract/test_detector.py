"""What every detector must keep, own or from outside: one alarm, a p of its own, and silence where nothing changed."""

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
def test_its_first_line_begins_with_its_code(name):
    assert re.match(r"O\d{3}: .{20}", plugins.describe("detector", name))


@pytest.mark.parametrize("name", DETECTORS)
def test_it_finds_a_feature_that_broke_and_is_silent_without_a_change(name):
    detector = load_detector(name)
    broken, still = detector(pair(by=10.0)), detector(pair())
    assert broken.alarm and any("x1" in finding.where for finding in broken.findings)
    assert not still.alarm and not still.findings


@pytest.mark.parametrize("name", DETECTORS)
def test_all_features_are_measured_and_findings_carry_its_code(name):
    drift = load_detector(name)(pair(by=10.0))
    found = {each.slice: each for each in drift.measurements if each.name == "drift.p"}
    assert set(found) == {"", "x0", "x1", "x2"}
    assert all(0 < each.value <= 1 and each.n_rows == 2400 for each in found.values())
    assert {finding.code for finding in drift.findings} == {plugins.describe("detector", name)[:4]}


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_windows_give_the_same_answer_and_are_left_as_they_were(name):
    windows = pair(by=1.0)
    before = [window.rows.copy() for window in (windows.before, windows.after)]
    assert load_detector(name)(windows) == load_detector(name)(windows)
    after = (windows.before.rows, windows.after.rows)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", DETECTORS)
def test_too_few_groups_are_refused_in_words(name):
    with pytest.raises(NotApplicable, match="groups"):
        load_detector(name)(pair(count=6))


@pytest.mark.parametrize("name", DETECTORS)
def test_what_it_found_can_be_kept_as_evidence(name):
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
