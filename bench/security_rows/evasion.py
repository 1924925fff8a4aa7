"""Rows of evasion: the nearest flips of a forest next to HopSkipJump and Boundary of ART, on the same model object.

Features are scaled to [0, 1] and distances are Euclidean, as ART measures them. All start from rows drawn at random, as
ART draws its own; a second row starts from known rows. Times are CPU times of one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.evaluation.decision_attack import AttackColumn, DecisionOracle
from headway.evaluation.nearest_flip import NearestFlips, find_nearest_flips
from serving.processes import ONE_THREAD

TREES, TRAINED, ATTACKED, QUERIES, LEAST_SPEED = 50, 400, 50, 1_000, 3.0
TINY = {"TREES": 3, "ATTACKED": 5, "QUERIES": 150}
ATTACKS = {"hsj": "HopSkipJump, max_iter 10", "boundary": "Boundary, max_iter 200"}


class _Served:
    """The model behind the interface of an engine."""

    def __init__(self, model: RandomForestClassifier) -> None:
        self._model = model

    def predict(self, rows: Floats) -> Floats:
        return np.asarray(self._model.predict_proba(rows))


def distances() -> Result:
    """Compare distance and CPU time of our search with those of ART's attacks."""
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0)
    model = RandomForestClassifier(TREES, random_state=0).fit(rows[:TRAINED], labels[:TRAINED])
    attacked = rows[TRAINED : TRAINED + ATTACKED]
    drawn = np.random.default_rng(0).random((TRAINED, rows.shape[1]))
    found, cpu_s = _attack(model, attacked, drawn)
    known, _ = _attack(model, attacked, rows[:TRAINED])
    mean = float(found.distances.mean())
    about = f"{ATTACKED} rows, forest of {TREES} trees, {QUERIES} decisions a row, {cpu_s:.3g} s"
    made = [
        shown("evasion.known_rows", float(known.distances.mean()), "", f"mean distance from {TRAINED} known rows"),
        shown("evasion.flipped", float(np.isfinite(found.distances).mean()), "share", about),
    ]
    try:
        peers = _peers(model, attacked)
    except Absent as error:
        return [shown("evasion.distance", mean, "", about), *made], [f"evasion: {error}"]
    theirs = {name: _described(name, peer) for name, peer in peers.items()}
    limit, speed = float(np.mean(peers["boundary"]["distances"])), peers["hsj"]["cpu_s"] / cpu_s
    return [
        Row(
            name="evasion.speed_over_hsj",
            measured=speed,
            unit="x",
            target=f">= {LEAST_SPEED:g}",
            ok=speed >= LEAST_SPEED,
            against=f"{about}; {theirs['hsj']}",
        ),
        Row(
            name="evasion.distance",
            measured=mean,
            unit="",
            target=f"<= {limit:.4g}",
            ok=mean <= limit,
            against=f"mean over {about}; {theirs['boundary']}",
        ),
        *made,
    ], []


def _attack(model: RandomForestClassifier, rows: Floats, pool: Floats) -> tuple[NearestFlips, float]:
    """Return the nearest flips, and the CPU seconds that they took."""
    columns = [
        AttackColumn(at=at, name=str(at), min_value=0.0, max_value=1.0, scale=1.0, max_move=1.0)
        for at in range(rows.shape[1])
    ]
    began = time.process_time()
    decide = DecisionOracle(_Served(model), 0.5, float("inf"))
    return find_nearest_flips(rows, decide, columns, pool=pool, queries=QUERIES), time.process_time() - began


def _peers(model: RandomForestClassifier, rows: Floats) -> dict[str, dict[str, Any]]:
    python = home("attacks")
    found = dict[str, dict[str, Any]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        joblib.dump(model, folder / "model.joblib")
        np.save(folder / "rows.npy", rows)
        for attack in ATTACKS:
            command = [str(python), str(HERE / "callers/of_art.py"), name, attack]
            run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
            if run.returncode:
                raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
            found[attack] = json.loads((folder / f"{attack}.json").read_text())
    return found


def _described(name: str, peer: dict[str, Any]) -> str:
    mean, turned = np.mean(peer["distances"]), np.mean(peer["turned"])
    return (
        f"ART 1.20.1, {ATTACKS[name]}: {mean:.4g} on the average, {turned:.0%} flipped, "
        f"{peer['queries']:,.0f} decisions a row, {peer['cpu_s']:.3g} s"
    )
