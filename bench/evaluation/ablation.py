"""The rows `ablation.*` of bench/evidence.py: findings in worlds with a known truth, and their cost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import process_time

import lightgbm as lgb
import numpy as np

from harness import Row, shown
from headway.core.arrays import Floats
from headway.core.evidence import Measurement
from headway.core.training import TrainingTask
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.workers import HERE
from headway.evaluation.audits.ablation import SEEDS, plugin
from headway.evaluation.context import AuditContext, Comparison
from headway.storage.blobs.files import Files

WORLDS, FEATURES, GROUPS, ROWS, BUDGET_S = 5, 20, 60, 200, 600.0
INJECTED = ("flips", "season", "useless")
NAMES = [*(f"needed_{number}" for number in range(FEATURES - len(INJECTED))), *INJECTED]
HARMFUL, USELESS = {"flips", "season"}, {"useless"}
EQUAL_WORLDS, EQUAL_ROWS = 300, 50

Learn = Callable[[Sequence[str], int], "_Trained | _Linear"]
TINY = {"WORLDS": 1, "ROWS": 40, "GROUPS": 20, "BUDGET_S": 2.0, "EQUAL_WORLDS": 2}


class _Trained:
    """A LightGBM model as an opened engine."""

    def __init__(self, rows: Floats, labels: Floats, seed: int) -> None:
        settings = {"num_leaves": 15, "seed": seed, "bagging_freq": 1, "bagging_fraction": 0.7, "num_threads": 1}
        data = lgb.Dataset(rows, labels)
        self.model = lgb.train({**settings, "objective": "binary", "verbose": -1}, data, num_boost_round=60)

    def predict(self, rows: Floats) -> Floats:
        return np.asarray(self.model.predict(rows, num_threads=1))[:, None]


class _Linear:
    """Least squares, so that hundreds of worlds are cheap; predictions are clipped to [0, 1]."""

    def __init__(self, rows: Floats, labels: Floats) -> None:
        self.weights = np.linalg.lstsq(np.column_stack([rows, np.ones(len(rows))]), labels, rcond=None)[0]

    def predict(self, rows: Floats) -> Floats:
        return np.clip(rows @ self.weights[:-1] + self.weights[-1], 0, 1)[:, None]


def rows() -> tuple[list[Row], list[str]]:
    """Run worlds with harmful and uninformative features, then worlds in which every feature helps a little."""
    harmful, useless, spent, naive, trained = 0, 0, 0.0, 0.0, 0.0
    for world in range(WORLDS):
        learned, judged = _world(2 * world, now=False), _world(2 * world + 1, now=True)

        def learn(names: Sequence[str], seed: int, learned: tuple[Floats, Floats] = learned) -> _Trained:
            return _Trained(learned[0][:, [NAMES.index(name) for name in names]], learned[1], seed)

        began = process_time()
        found = _audited(learn(NAMES, 0), judged, learn)
        spent += process_time() - began
        naive += _naive(judged[0], learn)
        harmful += _named(found, "harmful") == HARMFUL
        useless += _named(found, "useless") == USELESS
        trained += next(measurement.value for measurement in found if measurement.name == "ablation.trainings")
    trainings = (
        f"{SEEDS[0]} seeds without each of {FEATURES} features, and whole: {SEEDS[0] * (FEATURES + 1)} trainings"
    )
    return [
        _all("found", harmful, "exactly the two harmful features are named: one flips, one is invisible to masking"),
        _all("cleared", useless, "exactly the noise feature is named useless"),
        _at_maximum(
            "cost_ratio", spent / naive, 1 / 3, f"CPU time of {trainings}; {trained / WORLDS:.1f} a world were enough"
        ),
        *_equal_worlds(),
    ], []


def _all(name: str, count: int, against: str) -> Row:
    message = f"{WORLDS} worlds; {against}"
    return Row(
        name=f"ablation.{name}", measured=count, unit="", target=f"= {WORLDS}", ok=count == WORLDS, against=message
    )


def _at_maximum(name: str, measured: float, maximum: float, against: str) -> Row:
    target = f"<= {maximum:.3g}"
    return Row(
        name=f"ablation.{name}", measured=measured, unit="", target=target, ok=measured <= maximum, against=against
    )


def _equal_worlds() -> list[Row]:
    """Count worlds in which a helpful feature is named harmful; each day has its own effect and relations."""
    wrong, alone = 0, 0
    for world in range(EQUAL_WORLDS):
        learned, judged = _of_days(2 * world), _of_days(2 * world + 1)

        def learn(names: Sequence[str], seed: int, learned: tuple[Floats, Floats] = learned) -> _Linear:
            some = np.random.default_rng(seed).random(len(learned[1])) < 0.7
            return _Linear(learned[0][some][:, [NAMES.index(name) for name in names]], learned[1][some])

        found = _audited(learn(NAMES, 0), judged, learn)
        wrong += bool(_named(found, "harmful"))
        lost = [
            measurement
            for measurement in found
            if measurement.name == "ablation.retrained.brier.drop" and measurement.se is not None
        ]
        alone += any(measurement.high < 0 for measurement in lost)
    message = f"{EQUAL_WORLDS} worlds in which all {FEATURES} features help a little"
    return [
        _at_maximum("false_harmful", wrong / EQUAL_WORLDS, 0.055, f"the share of {message} with any named harmful"),
        shown("ablation.false_harmful.alone", alone / EQUAL_WORLDS, "", "the same by intervals of 95 % each"),
    ]


def _audited(model: _Trained | _Linear, judged: tuple[Floats, Floats], learn: Learn) -> Sequence[Measurement]:
    def retrain(tasks: Sequence[TrainingTask], proceed: Callable[[], bool]) -> Iterator[tuple[int, _Trained | _Linear]]:
        return HERE.map(lambda _, task: learn(task.features, task.seed), None, tasks, proceed=proceed)

    with tempfile.TemporaryDirectory() as folder:
        context = AuditContext(blobs=Files(Path(folder)), budget_s=BUDGET_S, retrain=retrain)
        return plugin(_subject(model, *judged), context)


def _naive(judged: Floats, learn: Learn) -> float:
    """Return the CPU seconds of three trainings with all features and without each, with predictions."""
    began = process_time()
    for seed in range(SEEDS[0]):
        for names in (NAMES, *([name for name in NAMES if name != out] for out in NAMES)):
            learn(names, seed).predict(judged[:, [NAMES.index(name) for name in names]])
    return process_time() - began


def _named(found: Sequence[Measurement], word: str) -> set[str]:
    return {measurement.slice for measurement in found if measurement.name == f"ablation.{word}"} - {""}


def _world(seed: int, *, now: bool) -> tuple[Floats, Floats]:
    """Generate a world: in training `flips` raised the odds, as did a `season` that ended; now `flips` lowers them.

    Now `season` is outside the range of training, so that masking changes no prediction.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(GROUPS * ROWS, FEATURES))
    flips, season = NAMES.index("flips"), NAMES.index("season")
    rows[:, season] = rng.random(len(rows)) + 2 * now
    raised = (-1 if now else 1) * rows[:, flips] + (0 if now else 1.5 * (rows[:, season] > 0.7))
    odds = rows[:, : FEATURES - len(INJECTED)].sum(1) * 0.5 + raised
    odds += np.repeat(rng.normal(0, 0.3, GROUPS), ROWS)
    return rows, (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def _of_days(seed: int) -> tuple[Floats, Floats]:
    """Generate rows whose outcome depends a little on every feature, more on some days than on others."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(GROUPS * EQUAL_ROWS, FEATURES))
    weights = np.repeat(rng.normal(0.02, 0.06, (GROUPS, FEATURES)), EQUAL_ROWS, axis=0)
    chance = 0.4 + (rows * weights).sum(1) + np.repeat(rng.normal(0, 0.1, GROUPS), EQUAL_ROWS)
    return rows, (rng.random(len(rows)) < chance).astype(np.float64)


def _subject(model: _Trained | _Linear, rows: Floats, labels: Floats) -> Comparison:
    artifact = Artifact(format="lightgbm", digest=f"sha256:{'0' * 64}", size_bytes=1)
    signature = Signature(inputs=tuple(Field(name=name) for name in NAMES))
    scores = model.predict(rows)
    return Comparison(
        variant=Variant(artifact=artifact, engine="lightgbm", signature=signature, task="binary"),
        model=model,
        reference=model,
        rows=rows,
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=np.repeat(np.arange(GROUPS), len(rows) // GROUPS),
        slices={},
        threshold=0.5,
    )
