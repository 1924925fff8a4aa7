from __future__ import annotations

import numpy as np
import pytest
from tests.data.tables import split_context, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.population.imbalance import plugin
from headway.data.context import CheckContext


def rare(share: float, rows: int = 6000, **roles: object) -> CheckContext:
    """Rows of which this share is late."""
    late = (np.random.default_rng(0).random(rows) < share).astype(int)
    return split_context(with_column(wide(rows, **roles), late=late.tolist()))


def test_a_rare_class_is_a_note_with_its_share_in_each_period():
    [finding] = plugin(rare(0.06))

    assert (finding.severity, finding.where, finding.limit) == ("note", "column late", 0.1)
    assert finding.message.startswith("class 1 is rare: 6.1% of 6,000 rows with an outcome (368); train 6.0% of 3,600")


def test_fewer_than_fifty_held_out_rows_warn_with_the_precision_of_the_recall():
    [finding] = plugin(rare(0.02))

    assert (finding.severity, finding.where) == ("warn", "[split] validation, test")
    assert "a recall from 21 rows is known to 21% at best" in finding.message


def test_classes_of_similar_share_have_no_finding():
    assert plugin(rare(0.12)) == []
    assert plugin(CheckContext(dataset=wide())) == []


def test_the_rarest_of_several_classes_is_named():
    draw = np.random.default_rng(0).choice(3, 6000, p=[0.6, 0.38, 0.02])
    dataset = with_column(wide(6000, task="multiclass", classes=("no", "yes", "perhaps")), late=draw.tolist())
    assert plugin(split_context(dataset))[0].message.startswith("class perhaps is rare: 1.9% of 6,000")


def test_it_cannot_judge_fewer_than_two_classes():
    with pytest.raises(NotApplicable, match="has no classes"):
        plugin(rare(0.06, task="regression"))
    with pytest.raises(NotApplicable, match="one class only"):
        plugin(rare(0.0))
