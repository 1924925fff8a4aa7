"""Time of the audit for 10,000 rows of a LightGBM model, next to sacroml's offline LiRA on the same model and rows."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.evaluation.context import SHADOW_MODELS
from privacy_rows.worlds import RATE, Probabilities, audited, draw, measured

ROWS, WIDTH, TREES = 10_000, 20, 100
BUDGET_S = 1_200.0
"""Enough for all models on a busy machine, where the clock says little: the time is that of the processor."""
TINY = {"ROWS": 1_000, "TREES": 5}


def rows() -> Result:
    """Run both, and show what each answers."""
    rng = np.random.default_rng(0)
    table, labels = draw(ROWS, WIDTH, rng)
    others = draw(ROWS // 2, WIDTH, rng)

    def fit(some: Any, target: Any, seed: int) -> Any:
        model = lightgbm.LGBMClassifier(n_estimators=TREES, num_leaves=31, n_jobs=1, verbose=-1, random_state=seed)
        return Probabilities(model.fit(some, target).booster_)

    began, cpu = time.perf_counter(), time.process_time()
    results = audited(fit, table, labels, others, budget_s=BUDGET_S)
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    rate, own = measured(results, RATE), measured(results, RATE, "this model, its other rows known")
    models = measured(results, "privacy.membership.models")
    about = f"{ROWS:,} rows, {WIDTH} columns, LightGBM of {TREES} trees; {models.method if models else 'no models'}"
    found = [
        Row(
            name="mia.seconds",
            measured=cpu,
            unit="s",
            target="<= 60",
            ok=cpu <= 60 and models is not None and 2 * models.value == SHADOW_MODELS,
            against=f"{about}; CPU time of one thread, all {SHADOW_MODELS} models",
        ),
        shown("mia.seconds[wall]", spent, "s", "the same by the clock, next to whatever else used the cores"),
    ]
    for name, one in (("mia.tpr_1pct", rate), ("mia.tpr_1pct[this model]", own)):
        if one is not None:
            found.append(shown(name, one.value, "share", f"[{one.low:.4f}, {one.high:.4f}]; {one.method}"))
    try:
        return [*found, *_peer(table, labels, others)], []
    except Absent as error:
        return found, [f"sacroml: not measured: {error}"]


def _peer(table: Any, labels: Any, others: Any) -> list[Row]:
    python = home("sacroml")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npz"
        np.savez(data, rows=table, labels=labels, other_rows=others[0], other_labels=others[1])
        command = [str(python), str(HERE / "peers/of_sacroml.py"), str(data), str(TREES), str(SHADOW_MODELS)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if run.returncode:
        raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
    found = json.loads(run.stdout.splitlines()[-1])
    about = f"sacroml {found['version']}, offline LiRA, {SHADOW_MODELS} shadow models, the same rows and model"
    return [
        shown("mia.seconds[sacroml]", found["seconds"], "s", about),
        shown("mia.seconds[sacroml cpu]", found["cpu"], "s", about),
        shown("mia.tpr_1pct[sacroml]", found["tpr_1pct"], "share", f"{about}; without an interval"),
        shown("mia.auc[sacroml]", found["auc"], "", about),
    ]
