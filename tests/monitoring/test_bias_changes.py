"""Gaps between groups of people over time: each with its direction, and shown only where the data show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace as changed
from tests.monitoring.test_degradation import answers, watch

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.evaluation.context import Comparison
from headway.monitoring.bias import bias_changes, describe_gap, judge_bias, people_columns
from headway.monitoring.degradation import find_degradation

SIGNATURE = Signature(inputs=(Field(name="sex", datatype="BYTES", categories=("F", "M")), Field(name="age")))


def period(shift: float, *, seed: int = 0) -> Comparison:
    """Return 30 days of decisions in which the scores of women are shifted by this much in log-odds."""
    of = answers(rows=200, seed=seed)
    sex = np.random.default_rng(seed + 9).integers(0, 2, len(of.labels))
    odds = np.log(of.scores[:, 0] / (1 - of.scores[:, 0])) + np.where(sex == 0, shift, 0.0)
    people = {"sex": SliceColumn(codes=sex, values=("F", "M"))}
    return replace(of, scores=1 / (1 + np.exp(-odds))[:, None], sensitive_features=people)


@pytest.mark.parametrize(
    ("before", "now", "direction"),
    [
        (0.0, -1.2, "wider"),
        (-1.5, 0.0, "narrower"),
        (-1.2, 1.2, "reversed"),
        (-0.8, -0.8, "not shown"),
    ],
)
def test_the_direction_of_a_gap_is_that_of_its_change(before, now, direction):
    found = judge_bias(bias_changes(period(now, seed=1), period(before)), alpha=0.01)
    (gap,) = [one for one in found if one.measure == "bias.selection"]
    assert (gap.group, gap.direction) == ("sex=F", direction)
    assert gap.change.value == pytest.approx(gap.now.value - gap.before.value)


def test_a_gap_is_described_with_its_sign_then_and_now():
    (gap,) = [one for one in bias_changes(period(-1.2, seed=1), period(0.0)) if one.measure == "bias.selection"]
    assert describe_gap(gap).startswith("the selection rate of sex=F is ")
    assert " points below that of the others [" in describe_gap(gap) and describe_gap(gap).endswith(
        "it when it was judged"
    )


def test_a_gap_that_widened_is_a_degradation_and_one_that_narrowed_is_none():
    of = {now: judge_bias(bias_changes(period(now, seed=1), period(-0.5)), alpha=0.01) for now in (-2.5, 0.0)}
    shown = {
        now: find_degradation(changed(watch(), bias=found), level=0.05, ece_at_most=0.1).shown
        for now, found in of.items()
    }
    assert shown == {-2.5: ("bias",), 0.0: ()}


def test_the_log_gives_the_groups_of_columns_that_the_model_reads():
    log = pl.DataFrame({"in.sex": [0.0, 1.0, float("nan")], "in.age": [30.0, 40.0, 30.0]})
    found = people_columns(log, ("sex", "age"), SIGNATURE, logged=True)
    assert found["sex"].values == ("F", "M", "missing") and found["age"].values == ("30", "40")
    with pytest.raises(NotApplicable, match="the log holds the model's inputs only, and race is none"):
        people_columns(log, ("race",), SIGNATURE, logged=True)
