"""Check what a search promises: a form that keeps all answers and takes less than half of the CPU time is returned.

usage: python bench/search_promise.py [--json] [--only TEXT] [PART ...]

A part is a budget, on the machine as it is or next to two busy loops. Each kind of model is compiled apart from the
search to every form that declares to keep its answers, and timed by the loop of this script: calls of one row of the
model as its user calls it, and of the form, in turns, in CPU time. A form that is shown to take less than half of the
model's must win, or another form that takes at most a quarter more, and the ratio of CPU times must be printed with its
interval. The object that is returned is timed by the same loop, and is slower if the interval is below 1.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import headway as hw
from harness import Result, Row, command_line, parse, report, show_progress
from headway import pipeline
from headway.api.in_memory_project import create_project
from headway.api.model import Model
from headway.core.errors import HeadwayError
from headway.core.student import student_quantile
from headway.data.matrix import matrix
from headway.evaluation.comparison import open_variant
from headway.optimization.context import TransformContext
from headway.optimization.screening import answer_changing_steps
from headway.optimization.search import generate_candidates
from optimization.model_pairs import Pair, pairs

PARTS = {"10s": ("10s", 0), "10s_busy": ("10s", 2), "default": (None, 0), "default_busy": (None, 2)}
"""Budget of the search and number of busy loops next to it."""
FORMS = ("trees", "text", "onnx", "pipeline", "fold", "dense")
LEAST_KINDS, SHARE, HALF, NEAR = 40, 0.95, 2.0, 1.25
ROUNDS, ROUND_S, INPUTS = 12, 0.01, 32
TINY = {"LEAST_KINDS": 1, "ROUNDS": 4, "ROUND_S": 0.001, "PARTS": {"10s": ("2s", 0), "10s_busy": ("2s", 1)}}
_LOOP = "while True: pass"
_PRINTED = re.compile(r"CPU time.*: x [0-9.,]+ \[[^\]]+\]")
Call = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of the CPU time of the model as called to that of a form, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"x{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a search: whether an exact form had to win, whether one did, and how it was reported."""

    pair: str
    best_form: float = 0.0
    winner: str = ""
    returned: Ratio = Ratio(1.0, 1.0, 1.0)
    is_won: bool = False
    is_printed: bool = False
    refused: str = ""

    @property
    def is_promised(self) -> bool:
        return self.best_form > HALF

    @property
    def is_slower(self) -> bool:
        return self.returned.high < 1

    def __str__(self) -> str:
        if self.refused:
            return f"{self.pair}: refused: {self.refused}"
        missing = [what for what, is_met in (("not won", self.is_won), ("no ratio", self.is_printed)) if not is_met]
        found = f"{self.winner} {self.returned}, best exact form x{self.best_form:.3g}"
        return "; ".join([f"{self.pair}: {found}", *(missing if self.is_promised else [])])


def rows(part: str, only: str) -> Result:
    """Search with each kind of model, and return the rows of a part and each run that broke the promise."""
    budget, n_loops = PARTS[part]
    outcomes: list[Outcome] = []
    for pair in pairs(only, one_of_each=True):
        outcomes.append(_outcome(pair, budget, n_loops))
        print(f"{part} {len(outcomes)}: {outcomes[-1]}", file=sys.stderr, flush=True)
    tried = [outcome for outcome in outcomes if not outcome.refused]
    promised = [outcome for outcome in tried if outcome.is_promised]
    won, printed = (
        sum(values) / max(len(promised), 1)
        for values in ([run.is_won for run in promised], [run.is_printed for run in promised])
    )
    slower = [outcome for outcome in tried if outcome.is_slower]
    against = f"{len(promised)} kinds of {len(tried)} with an exact form that takes less than half of the CPU time"
    share = f">= {SHARE:g}"
    found = [
        Row(
            name=f"search.promise.{part}",
            measured=won,
            unit="of runs",
            target=share,
            ok=won >= SHARE,
            against=against,
        ),
        Row(
            name=f"search.promise.{part}.printed",
            measured=printed,
            unit="of runs",
            target=share,
            ok=printed >= SHARE,
            against="the same runs, whose ratio of CPU time must be printed with its interval",
        ),
        Row(
            name=f"search.promise.{part}.slower",
            measured=len(slower),
            unit="runs",
            target="= 0",
            ok=not slower,
            against="the model as called, in CPU time by the loop of this script",
        ),
        Row(
            name=f"search.promise.{part}.kinds",
            measured=len(tried),
            unit="kinds",
            target=f">= {LEAST_KINDS}",
            ok=len(tried) >= LEAST_KINDS,
            against="regression, two and several classes, pipelines, texts and sparse rows",
        ),
    ]
    broken = [run for run in promised if not (run.is_won and run.is_printed)]
    return found, [f"{part}: {run}" for run in (*broken, *slower)]


def _outcome(pair: Pair, budget: str | None, n_loops: int) -> Outcome:
    table, labels = pair.search
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            forms = _exact_forms(pair, folder)
            with _busy_loops(n_loops):
                best = hw.optimize(pair.model, table, labels, budget=budget, callback=lambda _: None)
        except HeadwayError as error:
            return Outcome(pair=pair.name, refused=error.what)
        call, inputs = _method(pair.model), _single_rows(table)
        ratios = {digest: _cpu_ratio(call, _method(form), inputs) for digest, form in forms.items()}
        promised = {digest: ratio for digest, ratio in ratios.items() if ratio.low > HALF}
        best_form = max((ratio.value for ratio in promised.values()), default=0.0)
        returned = _cpu_ratio(call, _method(best), inputs) if best.improved else Ratio(1.0, 1.0, 1.0)
        is_exact = best.variant.digest in promised
        return Outcome(
            pair=pair.name,
            best_form=best_form,
            winner=best.variant.name,
            returned=returned,
            is_won=best.improved and (is_exact or returned.value * NEAR >= best_form),
            is_printed=_PRINTED.search(str(best)) is not None,
        )


def _exact_forms(pair: Pair, folder: str) -> dict[str, Model]:
    """Return every form of a model that keeps its answers on another engine, by digest, without a search."""
    prepared = create_project(pair.model, *pair.search, folder=folder)
    baseline = pipeline.import_model(prepared.project, prepared.imported, prepared.halves())
    sample = matrix(prepared.rows.table, baseline.model.signature)
    context = TransformContext(blobs=prepared.project.blobs, sample=sample, threshold=baseline.threshold)
    made = generate_candidates(baseline.model, context, FORMS).variants
    return {
        form.digest: Model(
            form,
            open_variant(form, prepared.project.blobs),
            threshold=baseline.threshold,
            threshold_rule=baseline.threshold_rule,
        )
        for form in made
        if form.steps and form.engine != baseline.model.engine and not answer_changing_steps(form)
    }


def _method(model: Any) -> Call:
    call: Call = model.predict_proba if hasattr(model, "classes_") and _has_probabilities(model) else model.predict
    return call


def _has_probabilities(model: Any) -> bool:
    return callable(getattr(model, "predict_proba", None))


def _single_rows(table: Any) -> list[Any]:
    """Return rows in the form of the table, each a table of one row."""
    count = table.shape[0] if hasattr(table, "shape") else len(table)
    cut = table.iloc if hasattr(table, "iloc") else table
    return [cut[at : at + 1] for at in np.unique(np.linspace(0, count - 1, INPUTS).astype(np.int64))]


def _cpu_ratio(model: Call, form: Call, inputs: Sequence[Any]) -> Ratio:
    """Return the ratio of CPU times of calls of one row, in rounds in turns, with Student's t over their logarithms."""
    calls = (model, form)
    counts = [_calls_of_round(call, inputs) for call in calls]
    logs = np.empty((ROUNDS, 2))
    for turn in range(ROUNDS):
        for index in (0, 1)[:: 1 if turn % 2 else -1]:
            logs[turn, index] = math.log(max(_cpu_s(calls[index], inputs, counts[index]), 1e-9) / counts[index])
    differences = logs[:, 0] - logs[:, 1]
    mean = float(np.median(differences))
    half = student_quantile(0.975, ROUNDS - 1) * float(differences.std(ddof=1)) / math.sqrt(ROUNDS)
    return Ratio(*(math.exp(mean + sign * half) for sign in (0, -1, 1)))


def _calls_of_round(call: Call, inputs: Sequence[Any]) -> int:
    """Warm up, and return how many calls fill a round."""
    _cpu_s(call, inputs, 3)
    return max(math.ceil(ROUND_S * 5 / max(_cpu_s(call, inputs, 5), 1e-7)), 1)


def _cpu_s(call: Call, inputs: Sequence[Any], count: int) -> float:
    chosen = [inputs[at % len(inputs)] for at in range(count)]
    began = time.process_time()
    for row in chosen:
        call(row)
    return time.process_time() - began


@contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    """Run this number of busy loops next to the search."""
    loops = [subprocess.Popen([sys.executable, "-c", _LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> None:
    """Measure and report."""
    parser = command_line(__doc__, PARTS)
    parser.add_argument("--only", metavar="TEXT", default="", help="run only kinds whose names contain it")
    options = parse(parser, PARTS)
    found: list[Row] = []
    short: list[str] = []
    for part in options.parts or PARTS:
        part_rows, part_short = rows(part, options.only)
        show_progress(part_rows)
        found, short = [*found, *part_rows], [*short, *part_short]
    report(found, short, as_json=options.json)


if __name__ == "__main__":
    main()
