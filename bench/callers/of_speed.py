"""One measurement of bench/trust_rows/speed.py in a process of its own, printed as JSON.

usage: of_speed.py search|time|calls FOLDER ARGUMENT

`search` optimizes the model of the folder within a budget and prints its headline; `time` measures the winner against
the model as the headline does; `calls` alternates the user's own calls for some seconds with nothing but a clock.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import joblib

import headway as hw
from headway import pipeline
from headway.api.as_called import time_as_called
from headway.api.model import Model
from headway.core.config import Config
from headway.core.evidence import AS_CALLED, Measurement
from headway.core.settings.project import ProjectSection
from headway.registry.project import project_of

NAME = "speed"


def main() -> None:
    """Measure as the arguments say."""
    action, folder, argument = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    warnings.simplefilter("ignore")
    model, rows, labels = joblib.load(folder / "model.joblib")
    if action == "search":
        best = hw.optimize(model, rows, labels, folder=folder, name=NAME, budget=argument, callback=lambda _: None)
        found = _headline(best.speedup)
    elif action == "time":
        measured = time_as_called(model, _winner(folder), rows)
        called = (seen for seen in measured if isinstance(seen, Measurement) and seen.name == AS_CALLED)
        found = _headline(next(called, None))
    else:
        found = {"own": _own_ratio(model, _winner(folder), rows, seconds=float(argument))}
    print(json.dumps(found))


def _headline(speedup: Measurement | None) -> dict[str, Any]:
    if speedup is None or speedup.name != AS_CALLED:
        return {"value": None, "low": None, "high": None}
    return {"value": speedup.value, "low": speedup.low, "high": speedup.high, "rows": speedup.slice}


def _winner(folder: Path) -> Model:
    project = project_of(Config(ProjectSection(name=NAME), folder=str(folder)))
    search = pipeline.last_search(project)
    return Model(search.winner.variant, pipeline.open_winner(project, search))


def _own_ratio(model: Any, best: Model, rows: Any, *, seconds: float) -> float:
    """Return the median over pairs of the time of the model's call divided by that of the same call of `best`."""
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    calls = [getattr(model, method), getattr(best, method)]
    inputs = [rows.iloc[at : at + 1] for at in range(min(len(rows), 64))]
    ratios, until = list[float](), perf_counter_ns() + seconds * 1e9
    while perf_counter_ns() < until or len(ratios) < len(inputs):
        row, times = inputs[len(ratios) % len(inputs)], [0, 0]
        for index in ((0, 1), (1, 0))[len(ratios) % 2]:
            began = perf_counter_ns()
            calls[index](row)
            times[index] = perf_counter_ns() - began
        ratios.append(times[0] / times[1])
    return median(ratios[len(inputs) // 2 :])


if __name__ == "__main__":
    main()
