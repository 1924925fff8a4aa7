"""`headway.optimize` within its budget of seconds, in a separate process: its results for one row and for batches.

It is run by any Python that has headway and the model's library.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import headway as hw
import tiny
from headway.core.search_result import SearchResult
from headway.core.variant import Variant
from headway.optimization.screening import objective_cost, ordering_measure
from headway.registry.judge import feasible
from headway.storage.blobs.files import Files
from optimization.export import save_artifact

MOST_ROWS = 20_000
# A look at a large network takes seconds.
BUDGET_S = 60
BUDGETS_S = {"minilm": 180, "ocr": 180}
TASKS = {"mlp": "binary"}
POLICY = {
    "lightgbm": {"roc_auc.drop": 0.005, "brier.drop": 0.005, "decision_churn": 0.05},
    "mlp": {"roc_auc.drop": 0.005, "brier.drop": 0.005, "max_change": 0.05},
    "cnn": {"accuracy.drop": 0.0},
    "minilm": {"cosine.drop": 1e-4},
    "ocr": {"accuracy.drop": 0.0},
}
# Networks are timed on one thread, so they are searched for on one. What is large is quantised by NNCF alone: to try
# the layers one by one takes minutes.
TRANSFORMS = {
    **dict.fromkeys(("mlp", "cnn"), ("fold", "dense", "bfloat16", "quantise", "openvino", "nncf")),
    **dict.fromkeys(("minilm", "ocr"), ("openvino", "nncf")),
}
TINY = {"MOST_ROWS": 500, "BUDGET_S": 1}


def main() -> None:
    """Search as the first argument specifies; store `one_row/`, `batch256/` and `result` in its `directory`."""
    tiny.apply()
    order = json.loads(sys.argv[1])
    directory = Path(order["directory"])
    rows, labels, *groups = (np.load(file)[:MOST_ROWS] for file in order["data"])
    name = order["name"].partition(".")[0]
    options: dict[str, Any] = {"policy": POLICY[name], "budget": f"{BUDGETS_S.get(name, BUDGET_S)}s"}
    if groups:
        options["groups"] = groups[0]
    if name in TRANSFORMS:
        options |= {"transforms": TRANSFORMS[name], "task": TASKS.get(name, "multiclass")}
    with tempfile.TemporaryDirectory() as folder:
        model = importlib.import_module(order["opener"]).load_model(Path(order["model"]))
        began = perf_counter()
        best = hw.optimize(model, rows, labels, folder=folder, **options)
        seconds = perf_counter() - began
        blobs = Files(Path(folder) / ".headway" / "blobs")
        found = {"one_row": best.variant, "batch256": fastest_batch(best.search)}
        for kind, variant in found.items():
            save_artifact(variant, blobs, directory / kind)
        result = {
            "seconds": seconds,
            "int8": of_int8(best.search),
            **{kind: variant.name for kind, variant in found.items()},
        }
    (directory / "result").write_text(json.dumps(result), encoding="utf-8")


def of_int8(frontier: SearchResult) -> dict[str, str]:
    """Return for each evaluated int8 variant why it was rejected; "" if it was not."""
    judged = [evaluated for evaluated in frontier.evaluated if "int8" in evaluated.variant.name]
    return {
        evaluated.variant.name: "" if feasible(evaluated.verdict) else frontier.reasons[evaluated.variant.name]
        for evaluated in judged
    }


def fastest_batch(frontier: SearchResult) -> Variant:
    """Return the feasible variant that is fastest in batches; the baseline if there is none.

    On a busy machine some variants have no wall-clock time: then all are compared by their CPU time.
    """
    judged = [evaluated for evaluated in frontier.evaluated if feasible(evaluated.verdict)]
    measure = ordering_measure(judged, "throughput.batch")
    return min(judged, key=lambda row: objective_cost(row, measure), default=frontier.winner).variant
