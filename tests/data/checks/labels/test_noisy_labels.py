from __future__ import annotations

import numpy as np
import pytest
from tests.data.labels.noisy_tables import turned
from tests.data.tables import message, small, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.labels.noisy_labels import plugin
from headway.data.context import CheckContext


def test_a_tenth_of_turned_labels_warns_with_share_and_interval():
    dataset, _ = turned()
    (finding,) = plugin(CheckContext(dataset=dataset))
    assert finding.severity == "warn"
    assert finding.measured == pytest.approx(0.1, abs=0.03)
    assert "95 % [" in finding.message
    assert "3,000 rows, 60 groups" in finding.message


def test_labels_that_stand_are_no_warning():
    dataset, _ = turned(share=0.0)
    assert "warn" not in " ".join(message(plugin, CheckContext(dataset=dataset)))


def test_a_number_has_no_wrong_class():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))


def test_of_a_target_that_is_chance_it_does_not_judge_and_says_how_much_is_known():
    draw = np.random.default_rng(0)
    dataset = with_column(wide(), late=draw.integers(0, 2, 2000))
    with pytest.raises(NotApplicable, match=r"the features explain 0\.0% of the target .*, and 20% are needed"):
        plugin(CheckContext(dataset=dataset))


def test_a_column_of_dates_is_left_out():
    dataset, _ = turned()
    dated = with_column(dataset, seen=dataset.table["at"].dt.date())
    assert message(plugin, CheckContext(dataset=dated)) == ["warn column label"]
