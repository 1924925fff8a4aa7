"""The rows `slices.*` of bench/evidence.py: the speed of comparing all combinations of columns, and the findings."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from cache import HERE, Absent, home
from evaluation.flight_rows import Flights, year
from harness import Row, shown
from headway.core.arrays import Floats, Ints
from headway.evaluation.context import Comparison
from headway.evaluation.metrics.discovered import plugin
from headway.evaluation.slice_finder import BinnedColumn, bin_columns, count_combinations, slice_scores, worst_slices

TIMES, WORLDS, SHARE, MOST_S = 5, 2000, 0.01, 300
COMPARED = (0, 1, 3, 4, 5, 11, 14, 17, 18, 19)
"""Ten of the columns: with all twenty, sliceline 0.3.0 takes 12 GB."""
TINY = {"TIMES": 1, "WORLDS": 2}


def rows() -> tuple[list[Row], list[str]]:
    """Measure all rows; without sliceline, a sentence replaces its row."""
    data = year()
    subject = data.subject()
    errors = np.square(data.scores - data.late)
    seconds, found = _best(lambda: _exhaustive(subject, errors)), _exhaustive(subject, errors)
    megabytes = _peak(lambda: _exhaustive(subject, errors))
    probe = _best(lambda: plugin(subject))
    false = {name: _false(data.within(5, 6), dealt) for name, dealt in DEALT.items()}
    label = ", ".join(f"{name}: {share:.3f} ± {_error(share):.3f}" for name, share in false.items())
    same, short = _same(subject, errors)
    return [
        _row("seconds", seconds, "s", 1.0, f"{len(errors):,} rows, 20 columns, {found:,} parts of 1 % or more"),
        shown("slices.probe_seconds", probe, "s", "the metric: found on half of the days by error and loss, confirmed"),
        _row("extra_mb", megabytes, "MB", 500.0, "the most that was held at once"),
        *same,
        _row("false_found", max(false.values()), "share", 0.055, f"{WORLDS} worlds each; errors permuted over {label}"),
    ], short


def _row(name: str, measured: float, unit: str, maximum: float, against: str) -> Row:
    target = f"<= {maximum:g}"
    return Row(
        name=f"slices.{name}", measured=measured, unit=unit, target=target, ok=measured <= maximum, against=against
    )


def _exhaustive(subject: Comparison, errors: Floats) -> int:
    """Compare all combinations over all rows and pick the five worst; return the number of large enough slices."""
    min_rows = int(SHARE * len(errors))
    columns = bin_columns(subject, min_rows)
    cells = count_combinations(columns, [errors])
    order = slice_scores(cells.rows, cells.sums[0], total=(len(errors), errors.sum()), scale=errors.mean())
    worst_slices(cells, np.where(cells.rows >= min_rows, order, -np.inf), columns, 5)
    return int((cells.rows >= min_rows).sum())


def _best(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(TIMES):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return min(times)


def _peak(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _same(subject: Comparison, errors: Floats) -> tuple[list[Row], list[str]]:
    """Compare the best slice of two columns with that of sliceline, by its score on the same levels."""
    min_rows = int(SHARE * len(errors))
    columns = [bin_columns(subject, min_rows)[at] for at in COMPARED]
    try:
        theirs, seconds = _sliceline(columns, errors)
    except (Absent, subprocess.SubprocessError) as reason:
        return [], [f"slices.same_best: {reason}"]
    cells = count_combinations(columns, [errors])
    order = slice_scores(cells.rows, cells.sums[0], total=(len(errors), errors.sum()), scale=errors.mean())
    of_two = np.array([len(members) == 2 for members in cells.members])
    two = np.repeat(of_two, np.diff(cells.starts, append=len(order)))
    best = int(np.argmax(np.where(two & (cells.rows >= min_rows), order, -np.inf)))
    same = cells.levels(best) == {int(at): level for at, level in theirs["levels"].items()}
    label = " & ".join(columns[at].label(level) for at, level in sorted(cells.levels(best).items()))
    ok = same and abs(float(order[best]) - theirs["score"]) < 1e-6
    against = f"{label}; sliceline took {seconds:.1f} s for parts of two of these {len(columns)} columns"
    return [Row(name="slices.same_best", measured=float(ok), unit="", target="= 1", ok=ok, against=against)], []


def _sliceline(columns: Sequence[BinnedColumn], errors: Floats) -> tuple[dict, float]:
    python = home("sliceline")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "errors.npz"
        np.savez(file, codes=np.column_stack([column.codes for column in columns]), errors=errors)
        began = perf_counter()
        command = [str(python), str(HERE / "callers/of_sliceline.py"), str(file)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=True)
    return json.loads(run.stdout), perf_counter() - began


def _false(data: Flights, dealt: Callable[[Ints, np.random.Generator], Ints]) -> float:
    """Return the share of worlds with a confirmed slice, where errors are independent of all columns."""
    subject, rng = data.subject(), np.random.default_rng(0)
    found = 0
    for _ in range(WORLDS):
        order = dealt(subject.groups, rng)
        names = ("labels", "scores", "reference_scores")
        world = replace(subject, **{name: getattr(subject, name)[order] for name in names})
        found += (
            next(measurement.value for measurement in plugin(world) if measurement.name == "discovered.confirmed") > 0
        )
    return found / WORLDS


def _error(share: float) -> float:
    """Return half of the 95 % interval of a share of WORLDS."""
    return 1.96 * math.sqrt(share * (1 - share) / WORLDS)


def _rows(groups: Ints, rng: np.random.Generator) -> Ints:
    return rng.permutation(len(groups))


def _days(groups: Ints, rng: np.random.Generator) -> Ints:
    """Return for each row a row of another day, one day for all rows of a day, so that errors still share their day."""
    starts = np.searchsorted(groups, np.arange(groups.max() + 2))
    other = rng.permutation(groups.max() + 1)[groups]
    found: Ints = starts[other] + (rng.random(len(groups)) * np.diff(starts)[other]).astype(np.int64)
    return found


DEALT = {"rows": _rows, "whole days": _days}
