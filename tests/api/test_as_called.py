"""Speed as the user calls the model: the user's own object against what replaces it."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from tests.evaluation.test_latency import Busy

import headway as hw
from headway.api import as_called
from headway.api.as_called import time_as_called
from headway.core.errors import NotApplicable
from headway.core.evidence import AS_CALLED, Measurement
from headway.evaluation.measure import BUSY

RANDOM = np.random.default_rng(0)
ROWS = pd.DataFrame(RANDOM.normal(size=(400, 3)), columns=["a", "b", "c"])
LABELS = (ROWS.a + RANDOM.normal(size=400) > 0).astype(int)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(as_called, "ROUNDS", 20)


class Recorder:
    """A model that records the types of rows that it is called with."""

    n_jobs = 1

    def __init__(self, *, refuses=()):
        self.refuses, self.seen = refuses, set()

    def predict_proba(self, rows):
        if isinstance(rows, self.refuses):
            raise TypeError(type(rows))
        self.seen.add((type(rows).__name__, rows.shape))
        return np.zeros((1, 2))


def ratios(found):
    return {seen.slice: seen for seen in found if isinstance(seen, Measurement) and seen.name == AS_CALLED}


@pytest.mark.slow
def test_a_table_is_passed_as_rows_of_a_dataframe_and_as_arrays():
    own, replacement = Recorder(), Recorder()
    found = ratios(time_as_called(own, replacement, ROWS))
    assert list(found) == ["dataframe_row", "array_row"]
    assert own.seen == replacement.seen == {("DataFrame", (1, 3)), ("ndarray", (1, 3))}
    assert str(found["dataframe_row"].baseline) == "Recorder, predict_proba of a DataFrame row, threads=1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows, kinds",
    [
        (ROWS.to_numpy(), ["array_row"]),
        (pl.from_pandas(ROWS), ["dataframe_row", "array_row"]),
        (ROWS.assign(a="x"), ["dataframe_row"]),
        (sparse.csr_array(ROWS.to_numpy()), ["sparse_row"]),
    ],
)
def test_rows_are_passed_in_the_form_that_the_user_has(rows, kinds):
    assert list(ratios(time_as_called(Recorder(), Recorder(), rows))) == kinds


@pytest.mark.slow
def test_a_kind_of_row_that_the_model_refuses_is_left_out():
    found = time_as_called(Recorder(refuses=(pd.DataFrame,)), Recorder(), ROWS)
    assert list(ratios(found)) == ["array_row"]


@pytest.mark.slow
def test_columns_that_the_model_does_not_read_are_left_out():
    own = Recorder()
    time_as_called(own, Recorder(), ROWS.assign(day=1), names=["a", "c"])
    assert {shape for _, shape in own.seen} == {(1, 2)}


def test_an_object_that_cannot_be_called_is_named():
    [reason] = time_as_called(object(), Recorder(), ROWS)
    assert isinstance(reason, NotApplicable) and "object" in reason.what
    [reason] = time_as_called(Recorder(refuses=(pd.DataFrame, np.ndarray)), Recorder(), ROWS)
    assert "answers no single row" in reason.what


@pytest.mark.slow
def test_the_headline_is_the_ratio_of_the_users_own_calls():
    model = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    best = hw.optimize(model, ROWS, LABELS, transforms=["onnx"])
    assert (best.speedup.name, best.speedup.slice) == (AS_CALLED, "dataframe_row")
    assert str(best.speedup.baseline) == "LGBMClassifier, predict_proba of a DataFrame row, threads=1"
    assert "for one row as you call it" in str(best).splitlines()[0]
    text = " ".join(str(best).split())
    assert (
        "engine against engine, one row: x" in text and "(against lightgbm, predict of an array row, threads=" in text
    )
    assert best.search.winner.evidence.find(AS_CALLED, "array_row")


def test_where_the_users_own_kind_of_row_is_not_timed_no_other_kind_stands_for_it(monkeypatch):
    meter = Busy(as_called.ATTEMPTS)
    monkeypatch.setattr("headway.evaluation.benchmark.LoadMeter", lambda **_: meter)
    assert not ratios(time_as_called(Recorder(), Recorder(), ROWS))
    assert meter.left == 0


@pytest.mark.slow
def test_on_a_busy_machine_a_winner_is_found_and_its_ratio_is_of_cpu_time(monkeypatch):
    monkeypatch.setattr("headway.evaluation.benchmark.LoadMeter", lambda **_: Busy(9))
    model = lightgbm.LGBMClassifier(n_estimators=60, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    best = hw.optimize(model, ROWS, LABELS, transforms=["onnx"], policy={"roc_auc.drop": 0.05})
    assert best.variant.name == "onnxruntime"  # by CPU time
    assert best.speedup is None and "for one row in CPU time" in str(best).splitlines()[0]
    assert "--wait-quiet" in str(best) and "CPU time, as you call it: x" in str(best)
    evidence = best.search.winner.evidence
    assert [finding.code for finding in evidence.findings].count(BUSY) == 1
    assert not any(seen.name.startswith(("latency.", "throughput.")) for seen in evidence.measurements)


@pytest.mark.slow
def test_a_rule_on_latency_is_undecided_on_a_busy_machine(monkeypatch):
    monkeypatch.setattr("headway.evaluation.benchmark.LoadMeter", lambda **_: Busy(9))
    model = LogisticRegression().fit(ROWS, LABELS)
    best = hw.optimize(model, ROWS, LABELS, transforms=["onnx"], policy={"latency.as_called": 1e9})
    assert best.verdict.answer == "undecided"
    [result] = [found for found in best.verdict.rule_results if found.rule.measure.startswith("latency.")]
    assert "other processes used the cores" in result.message


@pytest.mark.slow
def test_a_model_file_is_compared_with_the_librarys_own_object(tmp_path):
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    best = hw.optimize(path, ROWS, LABELS, transforms=["onnx"])
    assert (best.speedup.name, best.speedup.slice) == (AS_CALLED, "array_row")
    assert best.speedup.baseline.engine == "Booster" and best.speedup.baseline.call == "predict"


@pytest.mark.slow
def test_a_file_of_a_model_that_reads_categories_is_compared_by_its_engine_and_says_so(tmp_path):
    rows = ROWS.assign(d=pd.Categorical(np.where(ROWS.b > 0, "x", "y")))
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(rows, LABELS)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    best = hw.optimize(path, rows, LABELS, transforms=["onnx"])
    assert best.speedup.name == "latency.speedup"
    assert any("reads categories" in finding.message for finding in best.search.winner.evidence.findings)


@pytest.mark.slow
def test_waiting_for_a_quiet_machine_comes_before_the_search(monkeypatch):
    waited = []
    monkeypatch.setattr("headway.pipeline.wait_until_quiet", lambda **settings: waited.append(settings["timeout_s"]))
    model = LogisticRegression().fit(ROWS, LABELS)
    hw.optimize(model, ROWS, LABELS, transforms=["onnx"], wait_quiet=True)
    assert waited == [600, 600]
    hw.optimize(model, ROWS, LABELS, transforms=["onnx"])
    assert len(waited) == 2
