"""The part `students` of bench/optimize.py: boosters that learn from slow teachers, on three real tables.

One half of the groups of a table trains the teacher and its students, the other is scored; of the flights the first and
the second half of the days. The loss is the log loss of classes, or the squared error of numbers over their variance.
Differences are paired by group, with 95 % intervals. Speed is CPU time: the teacher in its library against the compiled
student, one thread each. Teachers that answer training rows out of fold, in sample, and labels have the same student.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.core.contracts import LabeledData
from headway.core.evidence import Measurement, TimedCall
from headway.core.plugins import load_blobs, load_engine
from headway.core.variant import Field, Signature, Variant
from headway.evaluation.benchmark import TimedBaseline, TimedEngine, time_model
from headway.evaluation.statistics.intervals import Sample, ratio_of_sums, t_interval
from headway.optimization.context import TransformContext
from headway.optimization.transforms import distil, trees
from optimization.model_pairs import TABLES, numbers
from optimization.pruning_rows import flights_by_day

SEED, ROUNDS, MAX_ROWS = 3, 20, 5_000
LIMIT_S = 3_600.0
SPEED = "cost.cpu_s.one_row.speedup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """A table with its task: rows to train on, and rows to score; `ordered` if the first come before the second."""

    task: str
    train: LabeledData
    test: LabeledData
    ordered: bool = False


def rows() -> Result:
    """Return the rows of every teacher."""
    distil.LIMIT_S = LIMIT_S
    with tempfile.TemporaryDirectory() as folder:
        return [row for name in TEACHERS for row in _of_teacher(name, Path(folder))], []


def _of_teacher(name: str, folder: Path) -> list[Row]:
    load, estimator = TEACHERS[name]
    halves = load()
    train, test = halves.train, halves.test
    target = train.labels if halves.task == "regression" else train.labels.astype(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an SVC warns about `probability`, a network that it did not converge
        content = load_engine("sklearn").import_model(estimator().fit(train.rows, target)).content
    context = TransformContext(
        blobs=load_blobs("files")(folder), sample=test.rows, train=lambda: train, ordered=halves.ordered
    )
    inputs = tuple(Field(name=f"c{index}") for index in range(train.rows.shape[1]))
    artifact = context.save(content, "skops")
    signature = Signature(inputs=inputs)
    teacher = Variant(artifact=artifact, engine="sklearn", signature=signature, task=halves.task)
    one_group = replace(train, groups=np.zeros_like(train.groups))  # it cannot be split, so nothing is refitted
    began = perf_counter()
    out_of_fold, labels, *_ = distil.plugin(teacher, context)
    seconds = perf_counter() - began
    in_sample, *_ = distil.plugin(teacher, replace(context, train=lambda: one_group))
    variants = {"teacher": teacher, "out_of_fold": out_of_fold, "in_sample": in_sample, "labels": labels}
    for taught_by in ("out_of_fold", "in_sample", "labels"):
        found = variants[taught_by].steps[-1].settings["taught_by"]
        assert found == taught_by, f"{name}: taught by {found}, expected {taught_by}"
    losses = {key: _losses(context.open(variant).predict(test.rows), halves) for key, variant in variants.items()}
    made = [_speedup(name, teacher, out_of_fold, context, seconds)]
    made += [_shown(f"students.{name}.loss.{key}", loss, test) for key, loss in losses.items()]
    gains = {
        "taught": losses["labels"] - losses["out_of_fold"],
        "taught_in_sample": losses["labels"] - losses["in_sample"],
        "lost": losses["out_of_fold"] - losses["teacher"],
    }
    return made + [_shown(f"students.{name}.{key}", gain, test) for key, gain in gains.items()]


def _losses(answers: Floats, halves: Halves) -> Floats:
    """Return the loss of each row."""
    labels = halves.test.labels
    if halves.task == "regression":
        return np.square(answers[:, 0] - labels) / labels.var()
    shares = np.column_stack([1 - answers[:, 0], answers[:, 0]]) if answers.shape[1] == 1 else answers
    return -np.log(np.clip(shares[np.arange(len(labels)), labels.astype(np.int64)], 1e-12, 1))


def _shown(name: str, losses: Floats, data: LabeledData) -> Row:
    """Return the mean of a loss, or of a difference, with its interval by group."""
    groups = np.unique(data.groups, return_inverse=True)[1]
    sums, counts = np.bincount(groups, losses)[None, :], np.bincount(groups)[None, :]
    found = t_interval(name, ratio_of_sums(sums, counts)[0], Sample(n_rows=len(losses), n_groups=counts.shape[1]))
    interval = f"[{found.low:.4g}, {found.high:.4g}], {found.n_rows:,} rows, {found.n_groups:,} groups"
    return shown(found.name, found.value, found.unit, interval)


def _speedup(name: str, teacher: Variant, student: Variant, context: TransformContext, seconds: float) -> Row:
    """Return the ratio of the CPU times of one row."""
    (compiled,) = trees.plugin(student, context)
    call = TimedCall(engine="sklearn", call="predict", input="array_row", rows=1)
    timed = TimedEngine(engine=context.open(teacher), call=call)
    baseline = TimedBaseline(one_row=(timed, timed), batch=(timed, timed))
    found = time_model(context.open(compiled), context.sample, baseline=baseline, rounds=ROUNDS, limit_s=20.0)
    [speed] = [seen for seen in found if isinstance(seen, Measurement) and seen.name == SPEED]
    against = f"one row, CPU time; distilled in {seconds:.0f} s from {len(context.train().rows):,} rows"
    interval = f"[{speed.low:.4g}, {speed.high:.4g}], {against}"
    return shown(f"students.{name}.speedup", speed.value, speed.unit, interval)


def _halves(task: str, cells: Floats, labels: Floats, groups: Any, *, ordered: bool = False) -> Halves:
    """Split a table by groups: the first half in order, or a random one."""
    codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    count = codes.max() + 1
    rank = np.arange(count) if ordered else np.random.default_rng(SEED).permutation(count)
    is_train = rank[codes] < count // 2

    def part(chosen: Any) -> LabeledData:
        some = np.flatnonzero(chosen)
        some = some[np.argsort(codes[some], kind="stable")][:: max(len(codes) // MAX_ROWS, 1)]
        within = np.unique(codes[some], return_inverse=True)[1].astype(np.int64)
        return LabeledData(rows=np.ascontiguousarray(cells[some]), labels=labels[some].astype(float), groups=within)

    return Halves(task=task, train=part(is_train), test=part(~is_train), ordered=ordered)


def _flights() -> Halves:
    table = flights_by_day()
    return _halves("binary", table.rows, table.labels, table.groups, ordered=True)


def _digits() -> Halves:
    cells, labels = load_digits(return_X_y=True)
    return _halves("multiclass", cells, labels, np.arange(len(labels)))


def _bikeshare() -> Halves:
    load, _ = TABLES["Bikeshare"]
    table, target, _ = load()
    return _halves("regression", numbers(table), target, table["day"].to_numpy())


def _stacking() -> Any:
    parts = [
        ("forest", ExtraTreesClassifier(100, min_samples_leaf=3, random_state=SEED)),
        ("boosting", HistGradientBoostingClassifier(random_state=SEED)),
        ("linear", make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))),
    ]
    return make_pipeline(SimpleImputer(), StackingClassifier(parts, cv=3))


def _network() -> Any:
    return make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=150, random_state=SEED))


TEACHERS: dict[str, tuple[Callable[[], Halves], Callable[[], Any]]] = {
    "flights_stacking": (_flights, _stacking),
    "digits_svm": (_digits, lambda: SVC(C=10, probability=True, random_state=SEED)),
    "digits_knn": (_digits, lambda: KNeighborsClassifier(5)),
    "bikeshare_network": (_bikeshare, _network),
}
TINY = {"ROUNDS": 4, "MAX_ROWS": 300, "TEACHERS": {"digits_knn": TEACHERS["digits_knn"]}}
