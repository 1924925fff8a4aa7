"""The rows `ablation.*` of bench/evidence.py: an injected harmful and a useless feature, and what naming them costs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import process_time

import lightgbm as lgb
import numpy as np

from harness import Row
from headway.core.contracts import Ground, Subject
from headway.core.evidence import Measurement
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.evidence.audits.ablation import SEEDS, plugin
from headway.evidence.tables import Floats
from headway.store.blobs.files import Files

FEATURES, GROUPS, ROWS, BUDGET_S = 12, 60, 200, 600.0
NAMES = [*(f"needed_{number}" for number in range(FEATURES - 2)), "flips", "useless"]


class _Trained:
    """A LightGBM model as an engine opens it."""

    def __init__(self, rows: Floats, labels: Floats, seed: int) -> None:
        settings = {"num_leaves": 15, "seed": seed, "bagging_freq": 1, "bagging_fraction": 0.7, "num_threads": 1}
        data = lgb.Dataset(rows, labels)
        self.model = lgb.train({**settings, "objective": "binary", "verbose": -1}, data, num_boost_round=60)

    def predict(self, rows: Floats) -> Floats:
        return np.asarray(self.model.predict(rows, num_threads=1))[:, None]


def rows() -> tuple[list[Row], list[str]]:
    """Ten features that count, one whose relation to the outcome flips after training, and one that says nothing."""
    learned, judged = _world(0, flips=1.0), _world(1, flips=-1.0)

    def learn(names: Sequence[str], seed: int) -> _Trained:
        return _Trained(learned[0][:, [NAMES.index(name) for name in names]], learned[1], seed)

    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(blobs=Files(Path(folder)), budget_s=BUDGET_S, learn=learn)
        began = process_time()
        found = plugin(_subject(learn(NAMES, 0), *judged), ground)
        raced = process_time() - began
    began = process_time()
    for seed in range(SEEDS):
        for left in (NAMES, *([name for name in NAMES if name != out] for out in NAMES)):
            learn(left, seed).predict(judged[0][:, [NAMES.index(name) for name in left]])
    ratio = raced / (process_time() - began)
    trained = next(each.value for each in found if each.name == "ablation.trainings")
    against = f"CPU seconds of {SEEDS} seeds without each of {FEATURES} features, and whole; {trained:g} were trained"
    cost = Row(name="ablation.cost_ratio", measured=ratio, unit="", target="<= 1/3", ok=ratio <= 1 / 3, against=against)
    return [_told("found", "harmful", "flips", found), _told("cleared", "useless", "useless", found), cost], []


def _told(name: str, what: str, part: str, found: Sequence[Measurement]) -> Row:
    named = {each.slice for each in found if each.name == f"ablation.{what}"} - {""}
    ok = named == {part}
    said = f"named {what}: {', '.join(sorted(named)) or 'none'}"
    return Row(name=f"ablation.{name}", measured=float(ok), unit="", target="= 1", ok=ok, against=said)


def _world(seed: int, *, flips: float) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(GROUPS * ROWS, FEATURES))
    odds = rows[:, :-2].sum(1) * 0.6 + flips * rows[:, -2] + np.repeat(rng.normal(0, 0.3, GROUPS), ROWS)
    return rows, (rng.random(len(rows)) < 1 / (1 + np.exp(-odds))).astype(np.float64)


def _subject(model: _Trained, rows: Floats, labels: Floats) -> Subject:
    artifact = Artifact(format="lightgbm", digest=f"sha256:{'0' * 64}", size_bytes=1)
    signature = Signature(inputs=tuple(Field(name=name) for name in NAMES))
    scores = model.predict(rows)
    return Subject(
        variant=Variant(artifact=artifact, engine="lightgbm", signature=signature, task="binary"),
        model=model,
        reference=model,
        rows=rows,
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=np.repeat(np.arange(GROUPS), ROWS),
        slices={},
        threshold=0.5,
    )
