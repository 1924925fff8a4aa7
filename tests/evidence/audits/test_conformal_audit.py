"""Audit `conformal`: coverage near what was asked, its price in classes, whole and by month."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.contract.subjects import subject_of

from headway.core.contracts import Ground, SliceColumn
from headway.core.errors import NotApplicable
from headway.evidence.audits.conformal import plugin
from headway.store.blobs.files import Files


@pytest.fixture
def ground(tmp_path):
    return Ground(blobs=Files(tmp_path), budget_s=1)


def test_sets_of_a_sound_model_hold_the_true_class_as_promised(ground):
    coverage, size = plugin(subject_of(groups=200), ground)
    assert (coverage.name, coverage.n_rows, coverage.n_groups) == ("conformal.coverage", 192 * 40, 192)
    assert coverage.value == pytest.approx(0.9, abs=0.01) and coverage.low < coverage.value < coverage.high
    assert 1 < size.value < 2


def test_each_month_has_its_own_coverage_but_one_that_only_teaches(ground):
    subject = subject_of(groups=60)
    codes = np.digitize(subject.groups, [5, 30])
    months = SliceColumn(codes=codes, values=("2013-01", "2013-02", "2013-03"))
    found = plugin(subject, replace(ground, months=months))
    assert [each.slice for each in found] == ["", "month=2013-02", "month=2013-03"] * 2


def test_few_groups_teach_and_leave_none_to_ask(ground):
    with pytest.raises(NotApplicable, match="there are 8"):
        plugin(subject_of(groups=8), ground)
