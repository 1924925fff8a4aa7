from __future__ import annotations

import numpy as np
import pytest
from tests.data.labels.noisy_tables import turned
from tests.data.tables import says, small, wide, with_column

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.data.checks.labels.noisy import plugin


def test_a_tenth_of_turned_labels_warns_with_share_and_interval():
    dataset, _ = turned()
    (finding,) = plugin(Survey(dataset=dataset))
    assert finding.severity == "warn"
    assert finding.measured == pytest.approx(0.1, abs=0.03)
    assert "95 % [" in finding.says
    assert "3,000 rows, 60 groups" in finding.says


def test_labels_that_stand_are_no_warning():
    dataset, _ = turned(share=0.0)
    assert "warn" not in " ".join(says(plugin, Survey(dataset=dataset)))


def test_a_number_has_no_wrong_class():
    with pytest.raises(NotApplicable):
        plugin(Survey(dataset=small(task="regression")))


def test_a_target_that_is_chance_is_no_warning_and_says_why():
    draw = np.random.default_rng(0)
    dataset = with_column(wide(), late=draw.integers(0, 2, 2000))
    found = plugin(Survey(dataset=dataset))
    assert all(each.severity == "note" and "most may be chance" in each.says for each in found)


def test_a_column_of_dates_is_left_out():
    assert "warn" not in " ".join(says(plugin, Survey(dataset=small(groups=""))))
