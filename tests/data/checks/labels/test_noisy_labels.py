from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace as changed
from tests.data.labels.noisy_tables import flipped
from tests.data.tables import message, small, wide, with_column

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.data.checks.labels.noisy_labels import plugin
from headway.data.context import CheckContext


@pytest.mark.slow
def test_ten_percent_of_flipped_labels_warn_with_share_and_interval():
    dataset, _ = flipped()
    (finding,) = plugin(CheckContext(dataset=dataset))
    assert finding.severity == "warn"
    assert finding.measured == pytest.approx(0.1, abs=0.03)
    assert re.match(r"between \d+ and \d+ of 3,000 labels look wrong \(about \d", finding.message)
    assert "60 groups" in finding.message


@pytest.mark.slow
def test_a_count_of_few_groups_has_a_range_too():
    dataset, _ = flipped()
    few = with_column(dataset, group=pl.Series(np.arange(len(dataset.table)) * 8 // len(dataset.table)))
    few = replace(few, roles=changed(dataset.roles, groups="group"))
    (finding,) = plugin(CheckContext(dataset=few))
    assert re.match(r"between \d+ and \d+ of 3,000 labels look wrong .* 8 groups", finding.message)


@pytest.mark.slow
def test_correct_labels_are_not_a_warning():
    dataset, _ = flipped(share=0.0)
    assert "warn" not in " ".join(message(plugin, CheckContext(dataset=dataset)))


def test_a_regression_cannot_be_checked_for_wrong_classes():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))


@pytest.mark.slow
def test_it_cannot_judge_a_random_target_and_reports_the_explained_share():
    draw = np.random.default_rng(0)
    dataset = with_column(wide(), late=draw.integers(0, 2, 2000))
    with pytest.raises(NotApplicable, match=r"the features explain 0\.0% of the target .*, and 20% are needed"):
        plugin(CheckContext(dataset=dataset))


@pytest.mark.slow
def test_a_column_of_dates_is_left_out():
    dataset, _ = flipped()
    dated = with_column(dataset, seen=dataset.table["at"].dt.date())
    assert message(plugin, CheckContext(dataset=dated)) == ["warn column label"]


def of_messages(flipped: float) -> Dataset:
    """Return 1,500 messages of 30 intents, with a share of random labels."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 30, 1_500)
    texts = [
        " ".join(
            [*(f"own{label}word{draw.integers(6)}" for _ in range(4)), *(f"w{draw.integers(60)}" for _ in range(5))]
        )
        for label in labels
    ]
    given = np.where(draw.random(1_500) < flipped, draw.integers(0, 30, 1_500), labels)
    classes = tuple(f"intent {number:02}" for number in range(30))
    roles = Roles(target="intent", task="multiclass", text=("message",), classes=classes)
    return Dataset(name="m", table=pl.DataFrame({"message": texts, "intent": given.astype(float)}), roles=roles)


def test_wrong_labels_of_texts_are_estimated_by_their_words():
    (finding,) = plugin(CheckContext(dataset=of_messages(0.1)))
    assert finding.severity == "undecided" and "fewer than 400 rows of a class" in finding.message
    assert finding.measured == pytest.approx(0.1, abs=0.04)
    assert "most often those of class 'intent " in finding.message
    assert plugin(CheckContext(dataset=of_messages(0.0))) == []
