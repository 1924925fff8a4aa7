"""Check whether the winner of a search is ever worse than the baseline: slower for one row, or outside its policy.

usage: python bench/never_worse.py [--json] [--only TEXT]

Each of `never_worse.pairs` is optimized on rows of its own. The winner is then timed again, in turns with the baseline,
and evaluated by the same policy on rows that the search did not use. A violation is slower beyond the interval of the
new timing, or a rule that fails on the new rows and did not fail in the verdict of the search: a baseline that is worse
than a constant stays so, and `headway.optimize` says that neither may be released. The baseline runs on one thread:
where its threads wait for cores that other processes use, anything is faster.

The returned object is also called in the place of the user's own, whether it was improved or not, with batches of 1,
32, 256, 1,000 and 3,000 rows. It is slower if the interval of the ratio of CPU times, own to returned in paired calls,
ends below 0.9.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import headway as hw
from harness import Row, command_line, parse, report
from headway import pipeline
from headway.api.in_memory_project import create_project
from headway.core.errors import HeadwayError
from headway.core.evidence import Measurement
from headway.evaluation.benchmark import time_model
from headway.evaluation.comparison import build_evaluation_set, open_variant
from optimization.model_pairs import Pair, pairs

LEAST_PAIRS, ROUNDS, BUDGET = 60, 20, "20s"
TINY = {"LEAST_PAIRS": 1, "ROUNDS": 2, "BUDGET": "1s"}


def rows(only: str = "") -> tuple[list[Row], list[str]]:
    """Return the two rows, the number of winners other than the baseline, and each violation in words."""
    found = list[Found]()
    for pair in pairs(only):
        found.append(_found(pair))
        print(f"never_worse {len(found)}: {found[-1]}", file=sys.stderr, flush=True)
    evaluated, worse = [pair for pair in found if not pair.refused], [pair for pair in found if pair.worse]
    changed = sum(pair.changed for pair in evaluated)
    against = "the baseline, timed in turns and evaluated on rows that the search did not use"
    return [
        Row(
            name="never_worse.violations",
            measured=len(worse),
            unit="pairs",
            target="= 0",
            ok=not worse,
            against=against,
        ),
        Row(
            name="never_worse.pairs",
            measured=len(evaluated),
            unit="pairs",
            target=f">= {LEAST_PAIRS}",
            ok=len(evaluated) >= LEAST_PAIRS,
            against="families of models on real tables",
        ),
        Row(
            name="never_worse.changed",
            measured=changed,
            unit="pairs",
            target=f">= {len(evaluated) // 2}",
            ok=changed >= len(evaluated) // 2,
            against="pairs whose winner is not the baseline: only there can it be worse",
        ),
    ], [str(pair) for pair in found if pair.worse or pair.refused]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Result of a search on a pair: the winner's name, its violations, or why there was no search."""

    pair: str
    winner: str = ""
    changed: bool = False
    worse: tuple[str, ...] = ()
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.pair}: {'; '.join(filter(None, (self.winner, *self.worse, self.refused)))}"


def _found(pair: Pair) -> Found:
    """Search, and evaluate the winner on other rows with a new timing."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="openmp"):
        try:
            best = hw.optimize(pair.model, *pair.search, folder=folder, budget=BUDGET)
        except HeadwayError as error:
            return Found(pair=pair.name, refused=f"optimize refuses it: {error.what}")
        slower = _slower_batches(pair.model, best, pair.check[0])
        if not best.variant.steps:
            return Found(pair=pair.name, winner=best.variant.name, worse=slower)
        prepared = create_project(pair.model, *pair.check, folder=folder)
        evaluation_set = build_evaluation_set(best.search.baseline, prepared.rows, prepared.project.blobs)
        judged = pipeline.evaluate(prepared.project, best.variant, evaluation_set)
        winner = open_variant(best.variant, prepared.project.blobs)
        times = time_model(winner, evaluation_set.rows, baseline=evaluation_set.timed(), rounds=ROUNDS)
    ratios = {seen.name: seen for seen in times if isinstance(seen, Measurement)}
    speed = ratios.get("latency.speedup") or ratios["cost.cpu_s.one_row.speedup"]  # CPU time on a busy machine
    worse = [*slower]
    worse += [f"slower: x{speed.value:.3g}, at most {speed.high:.3g}"] if speed.high < 1 else []
    known = {result.rule for result in best.verdict.rule_results if result.answer == "fail"}
    failed = [result for result in judged.verdict.rule_results if result.answer == "fail"]
    worse += [result.message for result in failed if result.rule not in known]
    winner_name = f"{best.variant.name} x{speed.value:.3g}{', not releasable' if known else ''}"
    return Found(pair=pair.name, winner=winner_name, changed=True, worse=tuple(worse))


BATCHES, BATCH_ROUNDS, LEAST_RATIO = (1, 32, 256, 1_000, 3_000), 20, 0.9


def _slower_batches(own: Any, best: Any, rows: Any) -> tuple[str, ...]:
    """Return the batches that the returned object answers slower than the user's own, in words."""
    method = next((name for name in ("predict_proba", "predict") if hasattr(own, name) and hasattr(best, name)), "")
    slower = []
    for size in BATCHES if method else ():
        chosen = np.arange(size) % len(rows)
        batch = rows.iloc[chosen] if hasattr(rows, "iloc") else [rows[index] for index in chosen]
        batch = np.array(batch) if isinstance(rows, np.ndarray) else batch
        calls = [getattr(model, method) for model in (own, best)]
        try:
            ratios = sorted(_cpu_ratio(*calls, batch) for _ in range(BATCH_ROUNDS + 1))[:BATCH_ROUNDS]
        except Exception:  # noqa: BLE001 - the user's own object does not read an array, such as a Booster of XGBoost
            continue
        median, high = ratios[len(ratios) // 2], ratios[min(14, len(ratios) - 1)]  # 95 % by the order of 20
        if high < LEAST_RATIO:
            slower.append(f"slower in batches of {size}: x{median:.3g}, at most {high:.3g}")
    return tuple(slower)


def _cpu_ratio(own: Callable[[Any], Any], best: Callable[[Any], Any], batch: Any) -> float:
    """Return the CPU time of the user's own call divided by that of the returned object's, of some calls in turns."""
    spent = [0, 0]
    for _ in range(max(300 // len(batch), 1)):
        for index, call in enumerate((own, best)):
            began = time.process_time_ns()
            call(batch)
            spent[index] += time.process_time_ns() - began
    return spent[0] / max(spent[1], 1)


def main() -> None:
    """Measure and report."""
    parser = command_line(__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="run only pairs whose names contain it")
    options = parse(parser)
    report(*rows(options.only), as_json=options.json)


if __name__ == "__main__":
    main()
