"""`import headway as hw`: a fitted model and a table in, the fastest form that is still right out, called as before."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass

import lightgbm
import numpy as np
import pandas as pd
import pytest
from onnx import helper
from tests.engines.graphs import FLOAT, graph

import headway as hw
from headway.core.errors import DataError, EngineError, Refused

pytestmark = pytest.mark.slow

DAYS = 60
ROWS = 40 * DAYS
QUIET = {"n_estimators": 40, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1, "verbose": -1}


@dataclass(frozen=True)
class World:
    """Flights of some days, with a category, missing values and a label that depends on them."""

    rows: pd.DataFrame
    late: np.ndarray
    days: np.ndarray


def world(seed: int) -> World:
    random = np.random.default_rng(seed)
    carrier = random.choice(["AA", "DL", "UA"], ROWS)
    wind = np.where(random.random(ROWS) < 0.1, np.nan, random.normal(size=ROWS))
    hour = random.integers(5, 24, ROWS)
    odds = np.nan_to_num(wind) + (carrier == "UA") + (hour - 14) / 6
    late = np.where(random.random(ROWS) < 1 / (1 + np.exp(-odds)), "late", "in time")
    rows = pd.DataFrame({"carrier": pd.Categorical(carrier), "wind": wind, "hour": hour})
    return World(rows=rows, late=late, days=np.arange(ROWS) // 40)


SEEN, NEW = world(0), world(1)
PROJECT = """[project]
name = "flights"
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
"""


@pytest.fixture(scope="module")
def model() -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(**QUIET).fit(SEEN.rows, SEEN.late)


@pytest.fixture(scope="module")
def best(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    (folder / "headway.toml").write_text(PROJECT, encoding="utf-8")
    return hw.optimize(model, NEW.rows, NEW.late, groups=NEW.days, transforms=["onnx"], folder=folder)


def test_the_result_predicts_as_the_model(best, model):
    assert np.allclose(best.predict_proba(SEEN.rows), model.predict_proba(SEEN.rows), rtol=0, atol=1e-12)


def test_the_result_has_the_classes_of_the_model_in_order(best, model):
    assert best.classes_.tolist() == model.classes_.tolist() == ["in time", "late"]
    assert np.array_equal(best.predict(SEEN.rows), model.predict(SEEN.rows))


def test_the_verdict_is_on_days_that_the_search_did_not_use(best):
    assert best.verdict.answer == "pass"
    assert best.search.winner.evidence.period == "test"


def test_the_result_prints_speedup_and_rules(best):
    first, *rest = str(best).splitlines()
    assert first == f"onnxruntime: {first.split(': ')[1]}" and "for one row as you call it, verdict pass" in first
    assert any(line.startswith("pass: decision_churn is 0") for line in rest)


def test_the_result_gives_a_reason_for_every_other_variant(best):
    assert "winner's latency.one_row" in best.why["lightgbm (baseline)"]


def test_the_table_fits_a_dataframe(best):
    table = best.table
    assert {"variant", "verdict", "roc_auc", "roc_auc.low", "roc_auc.high"} <= set(table.columns)
    assert len(table) == 2


def test_a_notebook_shows_the_variants_as_a_table(best):
    html = best._repr_html_()
    assert html.count("<tr") == 3 and "onnxruntime" in html and "verdict pass" in html


def test_the_report_is_one_file(best, tmp_path):
    page = best.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Faster variants of flights" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_released_result_is_loaded_by_name_and_predicts_the_same(best):
    folder = best.folder
    assert best.release(who="a test").pointer == "live"
    live = hw.load("flights@live", project=folder)
    assert np.array_equal(live.predict_proba(NEW.rows), best.predict_proba(NEW.rows))


@pytest.mark.parametrize("count", [1, 300])
def test_times_in_a_column_of_numbers_are_refused(best, count):
    name = next(name for name in NEW.rows if name != "carrier")
    wrong = NEW.rows.head(count).assign(**{name: pd.date_range("2025-01-01", periods=count)})
    with pytest.raises(DataError, match=f"column '{name}' is Datetime.*, expected a number"):
        best.predict_proba(wrong)


def test_a_booster_is_called_as_its_library_does(model):
    numbers = NEW.rows.assign(carrier=NEW.rows["carrier"].cat.codes).to_numpy(dtype=np.float64)
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(numbers, (NEW.late == "late")), 20
    )
    best = hw.optimize(booster, numbers, NEW.late == "late", groups=NEW.days, transforms=["onnx"])
    assert np.allclose(best.predict(numbers), booster.predict(numbers), rtol=0, atol=1e-12)


def test_costs_determine_the_decision_threshold(model):
    best = hw.optimize(model, NEW.rows, NEW.late, groups=NEW.days, transforms=["onnx"], costs={"false_negative": 9.0})
    late = best.predict(NEW.rows) == "late"
    assert best.threshold < 0.3 and late.mean() > (model.predict(NEW.rows) == "late").mean()


def test_a_policy_that_no_faster_variant_meets_returns_the_baseline(model):
    best = hw.optimize(model, NEW.rows, NEW.late, groups=NEW.days, transforms=["truncate"], policy={"max_change": 0.0})
    assert best.variant.steps == ()
    assert best.predict_proba(NEW.rows).tolist() == model.predict_proba(NEW.rows).tolist()


def test_columns_of_the_table_may_be_named_for_groups_and_time(model):
    rows = NEW.rows.assign(day=pd.Timestamp("2013-01-01") + pd.to_timedelta(NEW.days, unit="D"))
    best = hw.optimize(model, rows, NEW.late, groups="day", time="day", transforms=["onnx"])
    assert best.search.winner.evidence.find("roc_auc").n_groups == DAYS // 2


def test_evaluate_measures_a_model_with_intervals(model):
    found = hw.evaluate(model, NEW.rows, NEW.late, groups=NEW.days)
    assert found["roc_auc"].low < found["roc_auc"].value < found["roc_auc"].high
    assert found["roc_auc"].n_groups == DAYS and "Ranking (AUC)" in str(found)


def test_an_unmeasured_name_lists_the_measured_ones(model):
    with pytest.raises(KeyError, match=r"'auc' was not measured; measured: .*roc_auc"):
        hw.evaluate(model, NEW.rows, NEW.late, groups=NEW.days)["auc"]


def test_compare_detects_a_worse_model(model):
    worse = lightgbm.LGBMClassifier(**QUIET | {"n_estimators": 1}).fit(SEEN.rows, SEEN.late)
    found = hw.compare(model, worse, NEW.rows, NEW.late, groups=NEW.days)
    assert found.answer == "fail" and found["brier.drop"].low > 0.005
    assert "fails" in str(found)


def test_compare_shows_what_was_found_when_the_second_model_was_imported(model):
    second = lightgbm.LGBMClassifier(**QUIET | {"n_estimators": 1}).fit(SEEN.rows, SEEN.late)
    second.epsilon, second.accountant = 0.5, "budget"  # as the estimators of diffprivlib have them
    found = hw.compare(model, second, NEW.rows, NEW.late, groups=NEW.days)
    assert "E010" in [finding.code for finding in found.evidence.findings]


def test_an_unknown_option_is_rejected(model):
    with pytest.raises(TypeError, match="unexpected keyword argument 'group'"):
        hw.optimize(model, NEW.rows, NEW.late, group=NEW.days)


def test_a_table_without_a_column_is_rejected_with_the_nearest_name(model):
    with pytest.raises(DataError, match=r"lacks: wind\n.*\n  try: rename Wind to wind"):
        hw.optimize(model, NEW.rows.rename(columns={"wind": "Wind"}), NEW.late)


def test_a_label_that_is_not_a_class_of_the_model_is_rejected(model):
    with pytest.raises(DataError, match=r"y has the label 'cancelled', which is not a class of the model"):
        hw.optimize(model, NEW.rows, np.where(NEW.days == 0, "cancelled", NEW.late))


def test_labels_of_another_length_are_rejected_with_both_counts(model):
    with pytest.raises(DataError, match=r"2,400 rows, but 2,399 values of target"):
        hw.optimize(model, NEW.rows, NEW.late[1:])


def test_an_object_that_is_not_a_model_is_rejected_with_the_known_engines():
    with pytest.raises(EngineError, match=r"no engine imports a builtins\.dict\n  at: .*lightgbm: "):
        hw.optimize({}, NEW.rows, NEW.late)


def test_a_model_file_is_optimized_by_its_path(model, tmp_path):
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    best = hw.optimize(path, NEW.rows, NEW.late == "late", groups=NEW.days, transforms=["onnx"])
    assert np.allclose(best.predict(SEEN.rows), model.predict_proba(SEEN.rows)[:, 1], rtol=0, atol=1e-12)


def test_a_pickle_is_not_opened_without_trust(model, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(Refused, match="trust"):
        hw.optimize(path, NEW.rows, NEW.late)


def test_importing_headway_imports_no_model_library():
    code = "import sys, headway; sys.exit(', '.join({'numpy', 'polars', 'msgspec', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == "\n"


def test_an_unknown_attribute_lists_the_known_ones():
    with pytest.raises(
        AttributeError,
        match="it has FeatureStore, GatewayClassifier, __version__, compare, evaluate, feature_view, learning_curve",
    ):
        hw.optimise  # noqa: B018


class InCelsius:
    """A wrapper of one's own around a model: it turns a column before it asks."""

    def __init__(self, model: object) -> None:
        self.model = model

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(rows.assign(wind=(rows["wind"] - 32) / 1.8))


def test_custom_python_around_a_model_is_named_and_kept(model):
    model_in_celsius, rows = InCelsius(model), NEW.rows.assign(wind=NEW.rows["wind"] * 1.8 + 32)
    best = hw.optimize(model_in_celsius, rows, NEW.late, groups=NEW.days, transforms=["onnx"])
    assert best.variant.engine == "onnxruntime" and any("InCelsius" in part for part in best.native)
    assert np.allclose(best.predict_proba(rows), model_in_celsius.predict_proba(rows), rtol=0, atol=1e-12)
    with pytest.raises(Refused, match="custom Python code"):
        best.release()


def test_a_classifier_that_answers_logits_is_refused_before_the_search(tmp_path):
    weights = {"w": np.array([[2.0], [-1.0]], dtype=np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    (tmp_path / "logits.onnx").write_bytes(graph(nodes, [("x", FLOAT, [None, 2])], [("y", FLOAT, [None, 1])], weights))
    rows = np.random.default_rng(0).normal(size=(200, 2))
    with pytest.raises(DataError, match=r"the model answers from -\S+ to \S+, which is outside") as caught:
        hw.optimize(tmp_path / "logits.onnx", rows, (rows[:, 0] > 0).astype(int))
    assert "torch.nn.Sigmoid()" in caught.value.hint


def test_a_function_without_its_library_names_the_extra_to_install():
    code = "import sys; sys.modules['polars'] = None; import headway; headway.optimize"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.endswith("headway.optimize needs 'polars'\n  try: pip install 'headway[lab]'\n")
