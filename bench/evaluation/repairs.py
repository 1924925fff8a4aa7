"""The rows `venn_abers.*` and `conformal.*` of bench/evidence.py: compared with the libraries, and under drift."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from cache import HERE, Absent, home
from evaluation.flight_rows import Flights, year
from harness import Row, shown
from headway.core.arrays import Floats
from headway.evaluation.audits.conformal import (
    adaptive_limits,
    aps_scores,
    aps_sets,
    conformal_quantile,
    lac_scores,
    lac_sets,
    two_class_probabilities,
)
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.calibration.methods import fit_venn_abers, venn_abers_pairs

ROWS, COVERAGE, MOST_S = 20_000, 0.9, 120
TINY = {"ROWS": 1_000}


def rows() -> tuple[list[Row], list[str]]:
    """Measure all rows; without the libraries, a sentence replaces their rows."""
    data = year()
    found = _drift(data)
    try:
        return [*_compared(data), *found], []
    except (Absent, subprocess.SubprocessError) as reason:
        return found, [f"venn_abers.max_difference, conformal.max_difference: {reason}"]


def _compared(data: Flights) -> list[Row]:
    """Fit on flights of May and June, and predict later ones."""
    inputs = _inputs(data)
    theirs, versions = _theirs(inputs)
    scores, labels, queries = inputs["scores"], inputs["labels"], inputs["queries"]
    knots, low, high = venn_abers_pairs(scores, labels)
    indices = np.searchsorted(knots, queries, "left") + np.searchsorted(knots, queries, "right")
    merged = calibration_function(fit_venn_abers(scores, labels))(queries)
    off = max(_off(np.column_stack([low[indices], high[indices]]), theirs["pairs"]), _off(merged, theirs["merged"]))
    apart = {name: _off(values, theirs[name]) for name, values in _conformal(inputs).items()}
    differences = ", ".join(f"{name} {value:.1g}" for name, value in apart.items())
    against = f"{len(queries):,} flights by {ROWS:,}; {versions}"
    return [
        _row("venn_abers.max_difference", off, f"both probabilities and the merged one of {against}"),
        _row("conformal.max_difference", max(apart.values()), f"{differences}; {against}"),
    ]


def _inputs(data: Flights) -> dict[str, Floats]:
    """Return the inputs of both: two classes, three from the scores of two models, and a regression by airport."""
    learned, later = data.within(5, 6), data.within(7, 12)
    rng = np.random.default_rng(0)
    some, others = (rng.choice(len(flights.late), ROWS, replace=False) for flights in (learned, later))
    known, queries = learned.chosen(some), later.chosen(np.concatenate([others, others[: ROWS // 2]]))
    kinds = np.where(rng.random(ROWS) < known.twin, 1.0, 2.0)
    return {
        "scores": known.scores,
        "labels": known.late,
        "queries": np.concatenate([queries.scores[:ROWS], known.scores[: ROWS // 2]]),
        "several": _three(known),
        "classes": np.where(known.late == 1, 0.0, kinds),
        "query_several": _three(queries),
        "truth": known.twin + known.late,
        "parts": known.rows[:, 1],
        "query_parts": queries.rows[:, 1],
    }


def _three(data: Flights) -> Floats:
    """Return probabilities of late and of two kinds of punctual, float64 [n, 3]."""
    return np.column_stack([data.scores, (1 - data.scores) * data.twin, (1 - data.scores) * (1 - data.twin)])


def _theirs(inputs: dict[str, Floats]) -> tuple[dict[str, Floats], str]:
    """Run the libraries in a separate environment; return their results and versions."""
    with tempfile.TemporaryDirectory() as directory:
        result_file, input_file = Path(directory) / "result.npz", Path(directory) / "input.npz"
        np.savez(input_file, **inputs)
        command = [str(home("repairs")), str(HERE / "callers/of_repairs.py"), str(input_file), str(result_file)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=True)
        return dict(np.load(result_file)), run.stdout.strip()


def _conformal(inputs: dict[str, Floats]) -> dict[str, Floats]:
    """Return our results: sets of two and of three classes, intervals, and intervals by airport."""
    scores, queries, several = inputs["scores"], inputs["queries"], inputs["several"]
    labels, classes = (inputs[name].astype(np.int64) for name in ("labels", "classes"))
    chance = np.random.RandomState(0).uniform(size=ROWS)  # as MAPIE draws it
    missed = np.abs(inputs["truth"] - scores)
    airports, codes = np.unique(inputs["parts"], return_inverse=True)
    by_airport = np.array([conformal_quantile(missed[codes == code], COVERAGE) for code in range(len(airports))])
    limits = by_airport[np.searchsorted(airports, inputs["query_parts"])]
    quantile = conformal_quantile(missed, COVERAGE)
    found = {
        "sets": lac_sets(
            two_class_probabilities(queries),
            conformal_quantile(lac_scores(two_class_probabilities(scores), labels), COVERAGE),
        ),
        "lac": lac_sets(inputs["query_several"], conformal_quantile(lac_scores(several, classes), COVERAGE)),
        "aps": aps_sets(inputs["query_several"], conformal_quantile(aps_scores(several, classes, chance), COVERAGE)),
        "intervals": np.column_stack([queries - quantile, queries + quantile]),
        "by_part": np.column_stack([queries - limits, queries + limits]),
    }
    return {name: array.astype(np.float64) for name, array in found.items()}


def _off(ours: Floats, theirs: Floats) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())


def _row(name: str, measured: float, against: str) -> Row:
    return Row(name=name, measured=measured, unit="", target="<= 1e-06", ok=measured <= 1e-6, against=against)


def _drift(data: Flights) -> list[Row]:
    """Return the worst coverage of a month, July to December: online from May, and with one limit of May and June."""
    held = data.within(5, 12)
    values = lac_scores(two_class_probabilities(held.scores), held.late.astype(np.int64))
    limits = adaptive_limits(values, held.day)
    fixed = np.full(len(values), conformal_quantile(values[held.month <= 6], COVERAGE))
    worst = {}
    for name, limit in (("online", limits), ("fixed", fixed)):
        months = {m: float((values <= limit)[held.month == m].mean()) for m in range(7, 13)}
        worst[name] = max(months.values(), key=lambda share: abs(share - COVERAGE))
        shares = ", ".join(f"{share:.3f}" for share in months.values())
        if name == "online":
            online = f"July to December: {shares}"
    size = float(lac_sets(two_class_probabilities(held.scores), limits)[held.month >= 7].sum(1).mean())
    return [
        Row(
            name="conformal.worst_month",
            measured=worst["online"],
            unit="share",
            target="within 0.02 of 0.90",
            ok=abs(worst["online"] - COVERAGE) <= 0.02,
            against=f"{online}; sets of {size:.2f} classes; labels a day late",
        ),
        shown("conformal.worst_month_fixed", worst["fixed"], "share", "the same by one limit of May and June"),
    ]
