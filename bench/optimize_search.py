"""`headway.optimize` within its budget of seconds, in a process of its own: what it found for one row and for batches.

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
from headway.core.evidence import Measurement
from headway.core.frontier import Frontier
from headway.core.variant import Variant
from headway.core.verdict import Judged
from headway.face.python.adhoc import Options
from headway.release.judge import feasible
from headway.store.blobs.files import Files
from optimize_keep import keep

BUDGET_S, MOST_ROWS = 60, 20_000
POLICY = {
    "lightgbm": {"roc_auc.loss": 0.005, "brier.loss": 0.005, "flipped_decisions": 0.05},
    "mlp": {"roc_auc.loss": 0.005, "brier.loss": 0.005, "max_change": 0.05},
    "cnn": {"accuracy.loss": 0.0},
}


def main() -> None:
    """Search as the first argument asks; keep `one_row/` and `batch256/` in its `place`, with `said` beside them."""
    asked = json.loads(sys.argv[1])
    place = Path(asked["place"])
    rows, labels, *groups = (np.load(each)[:MOST_ROWS] for each in asked["data"])
    options: dict[str, Any] = {"policy": POLICY[asked["name"]], **({"groups": groups[0]} if groups else {})}
    if "budget" in Options.__annotations__:
        options["budget"] = f"{BUDGET_S}s"
    with tempfile.TemporaryDirectory() as folder:
        model = importlib.import_module(asked["opener"]).opened(Path(asked["model"]))
        began = perf_counter()
        best = hw.optimize(model, rows, labels, folder=folder, **options)
        seconds = perf_counter() - began
        blobs = Files(Path(folder) / ".headway" / "blobs")
        found = {"one_row": best.variant, "batch256": fastest_batch(best.frontier)}
        for kind, variant in found.items():
            keep(variant, blobs, place / kind)
    names = {kind: variant.name for kind, variant in found.items()}
    (place / "said").write_text(json.dumps({"seconds": seconds, **names}), encoding="utf-8")


def fastest_batch(frontier: Frontier) -> Variant:
    """The feasible variant that is fastest in batches; the model as it came where none is."""
    judged = [each for each in frontier.judged if feasible(each.verdict)]
    return max(judged, key=_batch, default=frontier.winner).variant


def _batch(judged: Judged) -> float:
    found: Measurement | None = judged.evidence.find("throughput.batch")
    return found.value if found else 0.0
