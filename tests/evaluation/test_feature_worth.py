"""Features that hurt or do nothing are named, and the lookup of a view costs what leaving it out saves."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from tests.contract.subjects import echo_comparison

from headway.core.calibrator import Calibrator
from headway.core.errors import StoreError
from headway.core.evidence import Measurement
from headway.core.feature_view import FeatureView
from headway.evaluation.feature_worth import Ablation, measure_lookups, measure_worth, price_views
from headway.features.online.sqlite import SqliteOnlineStore
from headway.storage.blobs.files import Files

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole_rounds")]

NARROW, WIDE = (FeatureView(name=name, version=1) for name in ("narrow", "wide"))


class MeanModel:
    """Predicts the mean of a row."""

    def predict(self, rows):
        return np.nan_to_num(rows).mean(1, keepdims=True)


@pytest.fixture
def subject():
    """The outcome follows the columns `a` and `b`; `c` is 0 in every row."""
    found, model = echo_comparison(groups=40), MeanModel()
    rows = found.rows * [1, 1, 0]
    scores = model.predict(rows)
    labels = (np.random.default_rng(3).random(len(scores)) < scores[:, 0]).astype(np.float64)
    return replace(found, rows=rows, model=model, labels=labels, scores=scores)


def worth_of(subject, names, folder):
    return measure_worth(subject, names, blobs=Files(folder), budget_s=60, calibrator=Calibrator())


def test_a_useful_feature_has_its_worth_and_a_constant_one_is_useless(subject, tmp_path):
    found = worth_of(subject, [["a"], ["c"]], tmp_path)

    assert found["a"].increase.low > 0
    assert found["a"].proposal == ""
    assert found["c"].proposal == "useless" and found["c"].increase.value == 0
    assert "no error changes" in found["c"].reason


def test_a_feature_that_makes_the_model_worse_is_harmful(subject, tmp_path):
    without = np.nan_to_num(subject.rows * [1, 0, 0]).mean(1)
    labels = (np.random.default_rng(3).random(len(without)) < without).astype(np.float64)

    found = worth_of(replace(subject, labels=labels), [["b"]], tmp_path)

    assert found["b"].proposal == "harmful"
    assert found["b"].increase.high < 0


def test_a_feature_that_the_rows_do_not_decide_is_undecided(subject, tmp_path):
    few = np.random.default_rng(5).permutation(len(subject.rows))[:30]
    part = replace(
        subject,
        **{name: getattr(subject, name)[few] for name in ("rows", "labels", "scores", "groups", "reference_scores")},
        slices={},
        sensitive_features={},
    )

    found = worth_of(part, [["a"]], tmp_path)

    assert found["a"].proposal == "undecided"
    assert "would decide" in found["a"].reason


def test_no_features_have_no_worth(subject, tmp_path):
    assert worth_of(subject, [], tmp_path) == {}


def test_features_that_need_a_view_are_judged_together(subject, tmp_path):
    found = worth_of(subject, [["a"], ["b"], ["a", "b"], []], tmp_path)

    assert list(found) == ["a", "b", "a + b"]
    assert found["a + b"].increase.value > found["a"].increase.value
    assert found["a"].error == found["a + b"].error > 0


def figure(value, se):
    return Measurement(
        name="m", value=value, low=value - 2 * se, high=value + 2 * se, se=se, dof=40, method="m", n_rows=9
    )


@pytest.mark.parametrize(
    ("lookup_us", "worth", "proposal"),
    [(100, 0.002, "too dear"), (100, 0.2, ""), (4, 0.002, ""), (100, -0.5, "too dear")],
)
def test_a_view_is_too_dear_if_its_lookup_surely_takes_more_than_it_is_worth_at_most(lookup_us, worth, proposal):
    views = {
        "plane@v1": Ablation(figure(worth, 0.0005), error=0.2),
        "weather@v1": Ablation(figure(0.1, 0.01), error=0.2),
    }
    lookups = {"plane@v1": figure(lookup_us, 1.0), "weather@v1": figure(20.0, 1.0)}

    found = price_views(views, lookups, max_us_per_percent=5.0)

    assert (found["plane@v1"].proposal, found["weather@v1"].proposal) == (proposal, "")
    assert found["weather@v1"] == views["weather@v1"]
    if proposal:
        assert "83% of all look-ups" in found["plane@v1"].reason


def test_only_a_view_with_known_cost_and_worth_that_is_not_proposed_already_is_priced():
    worth = figure(0.0001, 0.0001)
    views = {
        "useless": Ablation(worth, "useless", "no error changes", 0.2),
        "unknown": Ablation(None, "undecided", "no time", 0.2),
        "unread": Ablation(worth, error=0.2),
        "undecided": Ablation(worth, "undecided", "more rows would decide", 0.2),
    }
    lookups = {name: figure(100.0, 1.0) for name in views if name != "unread"}

    found = price_views(views, lookups, max_us_per_percent=5.0)

    assert {name: ablation.proposal for name, ablation in found.items()} == {
        "useless": "useless",
        "unknown": "undecided",
        "unread": "",
        "undecided": "too dear",
    }


@pytest.fixture
def store(tmp_path):
    with closing(SqliteOnlineStore(tmp_path)) as opened:
        keys = [f"key {number}" for number in range(200)]
        for table, width in (("narrow.v1", 1), ("wide.v1", 400)):
            opened.write(table, keys, np.ones((200, width)), np.ones(200, dtype=np.int64))
        yield opened


def test_leaving_out_a_wide_table_saves_more_than_leaving_out_a_narrow_one(store):
    keys = [f"key {number}" for number in range(200)]

    found = measure_lookups(store, [(NARROW, keys), (WIDE, keys)])

    assert found["wide@v1"].value > found["narrow@v1"].value
    assert found["wide@v1"].low > 0
    assert (found["wide@v1"].name, found["wide@v1"].n_rows) == ("feature.lookup_us", 100)


def test_the_lookup_of_the_only_table_is_measured_against_none(store):
    found = measure_lookups(store, [(WIDE, ["key 1", "key 2"])])

    assert found["wide@v1"].low > 0


def test_nothing_to_look_up_costs_nothing(store):
    assert measure_lookups(store, []) == measure_lookups(store, [(WIDE, [])]) == {}


def test_a_table_that_is_absent_is_an_error(store):
    with pytest.raises(StoreError):
        measure_lookups(store, [(FeatureView(name="absent", version=1), ["key 1"])])
