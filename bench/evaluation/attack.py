"""The rows `attack.*` of bench/evidence.py: an exact variant is attacked like its model, and the cost of a row."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import monotonic

from flight_data import demo_project
from harness import Result, Row, shown
from headway import pipeline
from headway.core.contracts import Engine
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline, subsample
from headway.evaluation.context import Comparison
from headway.evaluation.decision_attack import (
    AttackColumn,
    AttackResult,
    DecisionOracle,
    attack_rows,
    attackable_columns,
)
from headway.evaluation.settings.attack import AttackSection

SEARCH = {"optimize.transforms": '["trees"]'}
LIMITS = AttackSection(reach=0.5)
LONG_S = 1e6
TINY = {"SEARCH": {**SEARCH, "optimize.budget_s": "1"}, "LIMITS": AttackSection(reach=0.5, rows=20)}


def rows() -> Result:
    """Attack a thousand flights of July and August by at most two columns and half an interquartile range."""
    subject = _subject()
    some, columns = subsample(subject, LIMITS.rows), attackable_columns(subject, LIMITS)
    found, seconds = _attacked(subject.model, some, columns)
    model, longer = _attacked(subject.reference, some, columns)
    apart = float((found.robust != model.robust).mean())
    of = f"{len(some.rows):,} rows, {found.queries:,.0f} decisions each, {1 - found.robust.mean():.1%} turned"
    against = f"{of}; {len(columns)} columns, at most {LIMITS.columns} by {LIMITS.reach:g} interquartile ranges"
    ms_per_row = 1e3 / len(some.rows)
    times = f"the same by the model, {longer / seconds:.1f} times"
    return [
        Row(name="attack.turned_otherwise", measured=apart, unit="share", target="0", ok=apart == 0, against=against),
        shown("attack.ms_a_row", seconds * ms_per_row, "ms", subject.variant.name),
        shown("attack.ms_a_row[baseline]", longer * ms_per_row, "ms", times),
    ], []


def _subject() -> Comparison:
    """Return the demo's model, compiled, compared with its baseline."""
    with tempfile.TemporaryDirectory() as directory:
        project = demo_project(Path(directory), flags=SEARCH)
        data = pipeline.periods(project)
        baseline = pipeline.train(project, data)
        winner = pipeline.optimize(project, baseline, data).winner.variant
        return compare_with_baseline(winner, build_evaluation_set(baseline, data["test"], project.blobs), project.blobs)


def _attacked(engine: Engine, some: Comparison, columns: list[AttackColumn]) -> tuple[AttackResult, float]:
    began = monotonic()
    found = attack_rows(some.rows, DecisionOracle(engine, some.threshold, began + LONG_S), columns, LIMITS)
    return found, monotonic() - began
