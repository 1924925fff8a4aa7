"""The rows `venn_abers.*` and `conformal.*` of bench/evidence.py: beside the libraries, and under drift."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from evidence_flights import Flights, year
from harness import Row, shown
from headway.evidence.conformal import limit, online_limits, sets, strangeness
from headway.evidence.repair.apply import ready
from headway.evidence.repair.tables import venn_abers, venn_pairs
from headway.evidence.tables import Floats
from optimize_cache import HERE, Absent, home

ROWS, COVERAGE, MOST_S = 20_000, 0.9, 120


def rows() -> tuple[list[Row], list[str]]:
    """All of them; where the libraries cannot be had, a sentence in place of their rows."""
    data = year()
    found = _drift(data)
    try:
        return [*_beside(data), *found], []
    except (Absent, subprocess.SubprocessError) as reason:
        return found, [f"venn_abers.max_difference, conformal.max_difference: {reason}"]


def _beside(data: Flights) -> list[Row]:
    """Fitted on flights of May and June, asked of later ones."""
    learned, later = data.within(5, 6), data.within(7, 12)
    rng = np.random.default_rng(0)
    some = rng.choice(len(learned.late), ROWS, replace=False)
    scores, labels = learned.scores[some], learned.late[some]
    asked = np.concatenate([rng.choice(later.scores, ROWS, replace=False), scores[: ROWS // 2]])
    with tempfile.TemporaryDirectory() as place:
        given, told = Path(place) / "given.npz", Path(place) / "told.npz"
        np.savez(given, scores=scores, labels=labels, asked=asked)
        command = [str(home("repairs")), str(HERE / "callers/of_repairs.py"), str(given), str(told)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=True)
        theirs = dict(np.load(told))
    knots, low, high = venn_pairs(scores, labels)
    places = np.searchsorted(knots, asked, "left") + np.searchsorted(knots, asked, "right")
    merged = ready(venn_abers(scores, labels))(asked)
    off = max(_off(np.column_stack([low[places], high[places]]), theirs["pairs"]), _off(merged, theirs["merged"]))
    own = sets(asked, limit(strangeness(scores, labels), COVERAGE))
    against = f"{len(asked):,} flights by {ROWS:,}; {run.stdout.strip()}"
    return [
        _row("venn_abers.max_difference", off, f"both probabilities and the merged one of {against}"),
        _row("conformal.max_difference", _off(own, theirs["sets"]), f"split sets, a class in or out, of {against}"),
    ]


def _off(ours: Floats, theirs: Floats) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max())


def _row(name: str, measured: float, against: str) -> Row:
    return Row(name=name, measured=measured, unit="", target="<= 1e-06", ok=measured <= 1e-6, against=against)


def _drift(data: Flights) -> list[Row]:
    """The month from July to December that is covered worst: online from May on, and by one limit of May and June."""
    held = data.within(5, 12)
    values = strangeness(held.scores, held.late)
    limits = online_limits(values, held.day)
    fixed = np.full(len(values), limit(values[held.month <= 6], COVERAGE))
    worst = {}
    for name, each in (("online", limits), ("fixed", fixed)):
        months = {m: float((values <= each)[held.month == m].mean()) for m in range(7, 13)}
        worst[name] = max(months.values(), key=lambda share: abs(share - COVERAGE))
        said = ", ".join(f"{share:.3f}" for share in months.values())
        if name == "online":
            online = f"July to December: {said}"
    size = float(sets(held.scores, limits)[held.month >= 7].sum(1).mean())
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
