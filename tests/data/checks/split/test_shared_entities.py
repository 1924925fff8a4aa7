from __future__ import annotations

import numpy as np
import pytest
from tests.data.tables import message, split_context, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.split.shared_entities import plugin
from headway.data.context import CheckContext
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset

PLANES = np.random.default_rng(2).integers(0, 150, 2000)
BY_DATE = SplitSection(
    train=("2013-01-01", "2013-01-20"), validation=("2013-01-20", "2013-01-30"), test=("2013-01-30", "2013-02-12")
)


def test_declared_groups_in_training_and_test_are_a_warning():
    dataset = with_column(wide(groups="plane"), plane=PLANES.tolist())
    [finding] = plugin(CheckContext(dataset=dataset, periods=split_dataset(dataset, BY_DATE)))

    assert (finding.severity, finding.where) == ("warn", "column plane")
    assert finding.measured > 0.9
    assert message(plugin, split_context(dataset)) == []


def test_columns_that_name_entities_are_a_note():
    dataset = with_column(wide(), tail=[f"N{plane}" for plane in PLANES], plane_id=PLANES.tolist())
    assert message(plugin, split_context(dataset)) == ["note column tail", "note column plane_id"]


def test_categories_and_plain_numbers_are_not_entities():
    with pytest.raises(NotApplicable, match="no column names entities"):
        plugin(split_context(with_column(wide(), minute=PLANES.tolist())))
