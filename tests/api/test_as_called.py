"""Speed as the user calls the model: the user's own object against what replaces it."""

from __future__ import annotations

import pickle

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.evaluation.test_latency import Busy

import headway as hw
from headway.api import as_called
from headway.api.as_called import LibraryCalls, library_calls, time_as_called
from headway.api.in_memory_project import create_project
from headway.api.model import Model
from headway.core.errors import NotApplicable
from headway.core.evidence import AS_CALLED, Measurement
from headway.core.plugins import load_engine
from headway.evaluation.measure import BUSY
from headway.optimization.importers.models import import_baseline

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


class SlowModel(Model):
    """A model whose own way to its answers takes far longer than that of the library."""

    def _decisions(self, rows):
        for _ in range(20):
            answers = super()._decisions(rows)
        return answers

    def _probabilities(self, rows):
        for _ in range(20):
            answers = super()._probabilities(rows)
        return answers


def opened(model, rows, labels, kind=Model, **settings):
    memory = create_project(model, rows, labels)
    variant = import_baseline(memory.imported, memory.rows, memory.project.blobs)
    content = memory.project.blobs.get(variant.artifact.digest)
    return kind(variant, load_engine(variant.engine)(content, variant.settings), form=memory.form, **settings)


def compare_all_sizes(monkeypatch):
    """Let every size be timed however busy the machine is, in few pairs: the slow model is far slower."""
    monkeypatch.setattr(as_called, "OWN_LIMIT_S", 600.0)
    monkeypatch.setattr(as_called, "_PAIRS", 3)
    monkeypatch.setattr(as_called, "BATCH_SIZES", (1, 32, 256))


CELLS = np.random.default_rng(0).normal(size=(300, 4))
SIGNS = (CELLS[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("is_table", [False, True])
def test_the_librarys_own_call_answers_the_batches_that_it_answers_faster(is_table, monkeypatch):
    compare_all_sizes(monkeypatch)
    rows = pd.DataFrame(CELLS, columns=list("abcd")) if is_table else CELLS
    model = LogisticRegression().fit(rows, SIGNS)
    calls = library_calls(model, opened(model, rows, SIGNS, SlowModel), rows)
    assert set(calls.sizes) == {"predict", "predict_proba"} and 256 in calls.sizes["predict_proba"]
    some = rows[:260] if not is_table else rows.iloc[:260]
    assert np.array_equal(calls.find("predict", some)(some), model.predict(some))
    assert calls.find("predict", CELLS[:260].tolist()) is None and calls.find("score", some) is None
    assert calls.find("predict", some[:0]) is None
    if is_table:
        assert calls.find("predict", some[["b", "a", "c", "d"]]) is None, "the model reads columns by their names"
    else:
        assert calls.find("predict", some.astype(str)) is None and calls.find("predict", some[0]) is None


def test_only_the_sizes_that_were_faster_go_to_the_library():
    calls = LibraryCalls(model=LogisticRegression(), kind=np.ndarray, columns=(), sizes={"predict": (256,)})
    found = {size: calls.find("predict", np.zeros((size, 2))) is not None for size in (1, 255, 256, 999, 1_000)}
    assert found == {1: False, 255: False, 256: True, 999: True, 1_000: False}


def test_a_threshold_of_its_own_and_rows_of_another_kind_stay_with_the_optimized_model():
    model = LogisticRegression().fit(CELLS, SIGNS)
    decided = opened(model, CELLS, SIGNS, SlowModel, threshold=0.2, threshold_rule="costs")
    assert library_calls(model, decided, CELLS) is None
    assert library_calls(model, opened(model, CELLS, SIGNS, SlowModel), sparse.csr_matrix(CELLS)) is None


def test_a_library_that_answers_otherwise_is_not_called():
    model = LogisticRegression().fit(CELLS, SIGNS)
    optimized = opened(model, CELLS, SIGNS, SlowModel)
    other = RandomForestClassifier(5, random_state=0).fit(CELLS, 1 - SIGNS)
    assert library_calls(other, optimized, CELLS) is None


def test_a_model_that_is_fitted_again_does_not_change_what_optimize_returned():
    model = LogisticRegression().fit(CELLS, SIGNS)
    best = hw.optimize(model, CELLS, SIGNS, transforms=["prune"])
    before = best.predict_proba(CELLS)
    model.fit(CELLS, 1 - SIGNS)
    assert np.array_equal(best.predict_proba(CELLS), before)
    assert np.array_equal(pickle.loads(pickle.dumps(best)).predict_proba(CELLS), before)


def test_a_list_of_texts_is_read_by_the_library_and_one_of_numbers_is_not(monkeypatch):
    compare_all_sizes(monkeypatch)
    texts = [f"{'late' if sign else 'sent'} parcel {row % 7}" for row, sign in enumerate(SIGNS)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, SIGNS)
    calls = library_calls(model, opened(model, texts, SIGNS, SlowModel), texts)
    assert np.array_equal(calls.find("predict", texts)(texts), model.predict(texts))
    assert calls.find("predict", CELLS.tolist()) is None
