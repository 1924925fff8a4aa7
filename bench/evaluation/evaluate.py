"""The rows `evaluate.*` of bench/evidence.py: the complete evaluation, without audits that train, attack or serve."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from flight_data import demo_project
from harness import Result, Row, shown
from headway import pipeline
from headway.core import plugins
from headway.core.search_result import SearchResult
from headway.evaluation.comparison import build_evaluation_set
from headway.registry.project import Project

LEFT_OUT, MOST_S, NAMED = ("ablation", "attack", "load"), 60.0, 5
AUDITS: tuple[str, ...] = ()
SEARCH = {"optimize.transforms": '["trees"]'}
"""The transform that makes the demo's winner: the search's result is examined, as the command does it."""
TINY = {"SEARCH": {**SEARCH, "optimize.budget_s": "1"}, "AUDITS": ("imbalance",)}


def rows() -> Result:
    """Run `headway evaluate` on July and August once for the winner of a search and once for the baseline."""
    with tempfile.TemporaryDirectory() as directory:
        project = demo_project(Path(directory), flags=SEARCH)
        data = pipeline.periods(project)
        baseline = pipeline.train(project, data)
        found = pipeline.optimize(project, baseline, data)
        judged = pipeline.evaluate(project, baseline.model, build_evaluation_set(baseline, data["test"], project.blobs))
        came = SearchResult(name=project.name, baseline=baseline, evaluated=(judged,), winner=judged)
        seconds, message = _examined(project, found, data)
        longer, of_baseline = _examined(project, came, data)
    against = f"{found.winner.variant.name}, {message}"
    row = Row(
        name="evaluate.seconds", measured=seconds, unit="s", target="<= 60", ok=seconds <= MOST_S, against=against
    )
    return [row, shown("evaluate.seconds[baseline]", longer, "s", of_baseline)], []


def _examined(project: Project, frontier: SearchResult, data: pipeline.Data) -> tuple[float, str]:
    """Return the seconds of an evaluation, and its slowest parts."""
    audits = AUDITS or [name for name in plugins.names("audit") if name not in LEFT_OUT]
    progress: list[tuple[str, float]] = []
    began = perf_counter()
    pipeline.audit_winner(
        project, frontier, data, audits=audits, callback=lambda part: progress.append((part, perf_counter()))
    )
    return perf_counter() - began, _slowest(progress, perf_counter())


def _slowest(progress: Sequence[tuple[str, float]], ended: float) -> str:
    times = [
        (part, until - since) for (part, since), (_, until) in zip(progress, [*progress[1:], ("", ended)], strict=True)
    ]
    slowest = sorted(times, key=lambda part_time: -part_time[1])[:NAMED]
    message = ", ".join(f"{part} {seconds:.1f}" for part, seconds in slowest)
    return f"{len(times)} metrics and audits without {', '.join(LEFT_OUT)}; slowest: {message}"
