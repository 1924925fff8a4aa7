"""Speed headlines: are they true of the user's own calls, on a quiet and on a busy machine, and of the next run?

Each measurement runs in its own process (`callers/of_speed.py`). On the busy machine two processes of this benchmark
use the cores. "Quiet" means that it starts no other process: run it on a machine without other work.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import datasets
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from harness import Result, Row, shown

CALLER = Path(__file__).parent.parent / "callers" / "of_speed.py"
LOW, HIGH, COVERED, ABSTAINED = 0.8, 1.25, 0.9, 0.2
PAIRS, BURNERS, BUDGET, SECONDS = 30, 2, "10s", 3.0
TABLES: dict[str, Callable[..., Any]] = {
    "breast": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
MODELS: dict[str, tuple[str, Any]] = {
    "lightgbm, one thread": ("breast", LGBMClassifier(n_jobs=1, verbose=-1)),
    "lightgbm": ("wine", LGBMClassifier(verbose=-1)),
    "lightgbm, regression": ("diabetes", LGBMRegressor(n_jobs=1, verbose=-1)),
    "xgboost, one thread": ("breast", XGBClassifier(n_jobs=1)),
    "xgboost": ("digits", XGBClassifier(n_estimators=30)),
    "xgboost, regression": ("diabetes", XGBRegressor(n_jobs=1)),
    "random forest": ("digits", RandomForestClassifier(60, random_state=0)),
    "random forest, regression": ("diabetes", RandomForestRegressor(60, random_state=0)),
    "extra trees": ("wine", ExtraTreesClassifier(60, random_state=0)),
    "histogram boosting": ("breast", HistGradientBoostingClassifier(max_iter=50)),
    "gradient boosting": ("diabetes", GradientBoostingRegressor()),
    "pipeline": ("breast", make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))),
    "network": ("wine", make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=300))),
}
TINY = {"PAIRS": 1, "BUDGET": "1s", "SECONDS": 0.05, "MODELS": dict(list(MODELS.items())[:1])}


def rows() -> Result:
    """Return the rows on headlines, reruns and abstentions, and each headline that was wrong."""
    busy_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    notes = [f"{busy_before:.1f} processes ran before: not a quiet machine"] if busy_before > 1 else []
    with tempfile.TemporaryDirectory() as root:
        folders = {name: _prepared(Path(root) / str(at), name) for at, name in enumerate(MODELS)}
        quiet = [_headline(name, folder, "quiet") for name, folder in folders.items()]
        quiet_reruns = _reruns(list(folders.values()), PAIRS - PAIRS // 2)
        with burning(BURNERS):
            busy = [_headline(name, folder, "busy") for name, folder in folders.items()]
            busy_reruns = _reruns(list(folders.values()), PAIRS // 2)
    headlines = [*quiet, *busy]
    measured = [found for found in headlines if found["value"] is not None]
    wrong = [found for found in measured if not LOW <= found["value"] / found["own"] <= HIGH]
    pairs = [pair for pair in (*quiet_reruns, *busy_reruns) if all(run["value"] is not None for run in pair)]
    covered = [first["low"] <= second["value"] <= first["high"] for first, second in pairs]
    quiet_runs = [*quiet, *(run for pair in quiet_reruns for run in pair)]
    abstained = float(np.mean([run["value"] is None for run in quiet_runs]))
    measured_busy = sum(found["value"] is not None for found in busy)
    return [
        Row(
            name="speed.as_called",
            measured=1 - len(wrong) / len(measured) if measured else 1.0,
            unit="share",
            target=f"= 1 of {len(headlines)}",
            ok=not wrong,
            against=f"headline / the user's alternating calls in {LOW}..{HIGH}; {len(headlines) - len(measured)} of "
            f"{len(headlines)} abstained",
        ),
        Row(
            name="speed.rerun_coverage",
            measured=float(np.mean(covered)) if covered else 0.0,
            unit="share",
            target=f">= {COVERED}",
            ok=bool(covered) and float(np.mean(covered)) >= COVERED,
            against=f"{len(pairs)} of {len(quiet_reruns) + len(busy_reruns)} pairs of runs; the others abstained",
        ),
        Row(
            name="speed.abstained",
            measured=abstained,
            unit="share",
            target=f"<= {ABSTAINED}",
            ok=abstained <= ABSTAINED,
            against=f"{len(quiet_runs)} quiet runs",
        ),
        shown(
            "speed.busy_headlines", measured_busy, "models", f"of {len(busy)}, with {BURNERS} processes on the cores"
        ),
        shown("speed.rerun_width", _median_width(pairs), "x", "upper over lower end of the interval, median"),
    ], [*notes, *(_described(found) for found in wrong)]


@contextlib.contextmanager
def burning(count: int) -> Iterator[None]:
    """Run processes that use a core each, and end them."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def _prepared(folder: Path, name: str) -> Path:
    """Fit a model, and store it with the rows that headway gets."""
    folder.mkdir()
    table, model = MODELS[name]
    x, y = TABLES[table](return_X_y=True, as_frame=True)
    train, rest, labels, others = train_test_split(x, y, test_size=0.5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        joblib.dump((model.fit(train, labels), rest, others), folder / "model.joblib")
    return folder


def _headline(name: str, folder: Path, state: str) -> dict[str, Any]:
    """Search in one process, then time the user's calls in another; `own` is their ratio."""
    headline = _run("search", folder, BUDGET)
    found = _run("calls", folder, str(SECONDS))
    print(f"speed {state} {name}: {headline} {found}", file=sys.stderr, flush=True)
    return {"name": f"{name} ({state})", **headline, **found}


def _reruns(folders: Sequence[Path], count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Time the calls as the headline does, twice for each model in turn, each in a process of its own."""
    chosen = [folders[at % len(folders)] for at in range(count)]
    return [(_run("time", folder, ""), _run("time", folder, "")) for folder in chosen]


def _run(action: str, folder: Path, argument: str) -> dict[str, Any]:
    command = [sys.executable, str(CALLER), action, str(folder), argument]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{action} of {folder.name} failed: {run.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def _median_width(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> float:
    return float(np.median([first["high"] / max(first["low"], 1e-9) for first, _ in pairs])) if pairs else 0.0


def _described(found: dict[str, Any]) -> str:
    ratio = found["value"] / found["own"]
    return f"{found['name']}: headline x {found['value']:.3g}, own calls x {found['own']:.3g} ({ratio:.2f} of it)"
