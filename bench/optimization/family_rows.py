"""The rows of one family in bench/optimize.py: headway against the library, and against the fastest correct peer."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cache import Absent
from harness import Row, shown
from headway.core.arrays import Floats
from optimization.families import CALLED, FAMILIES, KINDS, Family, on_frames
from optimization.paired_timing import Caller, Timed, race
from optimization.preparation import compiled, searched

OURS, BATCH, DROP_IN, FRAME = "headway", "headway in batches", "drop-in", ", DataFrame"
DECIDED, SCORED = "decided", "scored"
WAITS = 2
UNITS = {"one_row": "us", "batch256": "us of CPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Results of timing a family: times and predictions by name, and why other callers are absent."""

    family: Family
    timed: dict[str, Timed]
    absent: dict[str, str]
    search: Mapping[str, Any] = field(default_factory=dict)

    @property
    def right(self) -> list[str]:
        """Return the peers whose predictions are within the bound."""
        return [name for name in self.family.peers if name in self.timed and self.harm(name) <= self.family.bound]

    def harm(self, name: str) -> float:
        """Return the family's measure of the predictions of a caller, compared with the library's on one thread."""
        theirs, ours = self.timed["one thread"].answers, self.timed[name].answers
        return harm_of(self.family, theirs, ours)

    def called(self, rows: str = "") -> tuple[str, str]:
        """Return the library's caller to compare one row with, and its description; `rows` ends its name.

        If its default number of threads takes twice as long as one thread or more, its threads wait for cores that
        other processes use: then one thread is the fair comparison.
        """
        names = [name + rows for name in CALLED]
        called, alone = (self.timed[name].us("one_row") for name in names)
        if called < WAITS * alone:
            return names[0], f"{self.family.message}{rows} (on one thread {alone:.4g} us)"
        message = f"{self.family.message}{rows} on one thread (as called its threads wait: {called:.4g} us)"
        return names[1], message

    def not_counted(self) -> list[str]:
        """Return the peers that are not counted, each with the reason."""
        timed = [name for name in self.family.peers if name in self.timed and name not in self.right]
        wrong = [f"{name}: {self.family.measure} {self.harm(name):.2g}" for name in timed]
        return [*wrong, *(f"{name}: {why}" for name, why in self.absent.items() if name in self.family.peers)]


def rows(name: str) -> tuple[list[Row], list[str]]:
    """Return the rows of a family, and sentences on what is absent."""
    found, sentences = raced(FAMILIES[name])
    return (rows_of(found), [*sentences, *unlike(found)]) if found else ([], sentences)


def raced(family: Family) -> tuple[Found | None, list[str]]:
    """Time a family; return the results, or a sentence that explains why it was not run."""
    with tempfile.TemporaryDirectory() as directory:
        try:
            (ours, search), why = _ours(family, Path(directory)), ""
        except Absent as reason:
            ours, search, why = [], {}, str(reason)
        try:
            timed, absent = race([*family.callers(), *ours], rounds=family.rounds)
        except Absent as reason:
            return None, [f"{family.name}: {reason}"]
    if "one thread" not in timed or "as called" not in timed:
        return None, [f"{family.name}: the library does not answer: {absent}"]
    found = Found(family=family, timed=timed, absent=absent, search=search)
    return found, [] if OURS in timed else [f"{family.name}: {why or absent[OURS]}"]


def rows_of(found: Found) -> list[Row]:
    """Return the rows of a comparison; without our caller, the figures of the others."""
    if OURS not in found.timed:
        return _theirs(found)
    return [*against_library(found), *against_peers(found), *drift_costs(found)]


def unlike(found: Found) -> list[str]:
    """Return a sentence if no peer is within the bound."""
    return [] if found.right else [f"{found.family.name}: no peer keeps the bound ({'; '.join(found.not_counted())})"]


def _ours(family: Family, directory: Path) -> tuple[list[Caller], dict[str, Any]]:
    """Return our callers, and the result of the search: the engine for one row, another for batches or the drop-in."""
    if family.transforms:
        variant_dir = compiled(family.name, family.transforms, directory / "ours")
        ours = family.ours.of(OURS, variant_dir, family.rows)
        drop_in = replace(ours, name=DROP_IN, call="of_headway:drop_in", judged=False)
        decides = [replace(ours, name=name, call=f"of_headway:{name}") for name in (DECIDED, SCORED)]
        frames = [on_frames(drop_in)] if family.reads_frames else []
        return [ours, drop_in, *frames, *(decides if family.decide_target else [])], {}
    search = searched(family.order, directory, home=family.ours.home)
    return [
        family.caller(family.ours, OURS, directory / "one_row"),
        family.caller(family.ours, BATCH, directory / "batch256"),
    ], search


def against_library(found: Found) -> list[Row]:
    """Compare `one_row` with the library as its users call it, `batch256` with it on one thread."""
    family = found.family
    compared = {"one_row": found.called(), "batch256": ("one thread", f"{family.message} on one thread")}
    return [
        ratio(found, kind, kind, target=target, against=compared[kind])
        for kind, target in zip(KINDS, family.targets[:2], strict=True)
    ]


def against_peers(found: Found) -> list[Row]:
    """Compare `peer_one_row` and `peer_batch256` each with the fastest peer."""
    made = []
    for kind, target in zip(KINDS, found.family.targets[2:], strict=True):
        order = sorted(found.right, key=lambda name: found.timed[name].us(kind))
        if order:
            others = [f"{name} {found.timed[name].us(kind):.4g} {UNITS[kind]}" for name in order[1:]]
            notes = [*others, *(f"not counted: {name}" for name in found.not_counted())]
            row = ratio(found, f"peer_{kind}", kind, target=target, against=(order[0], order[0]))
            made.append(replace(row, against="; ".join([row.against, *notes])))
    return made


def drift_costs(found: Found) -> list[Row]:
    """Return the family's measure of our predictions, and the overhead of the model that `headway.optimize` returns."""
    family, n_rows = found.family, len(found.timed[OURS].answers)
    harm = max(found.harm(name) for name in (OURS, BATCH) if name in found.timed)
    turned = family.measure == "cosine"
    row = Row(
        name=f"{family.name}.{family.measure}",
        measured=1 - harm if turned else harm,
        unit="",
        target=f">= {1 - family.bound:g}" if turned else f"<= {family.bound:g}",
        ok=harm <= family.bound and n_rows >= family.least_rows,
        against=f"{family.message} on {n_rows:,} rows, {share_missing(family.rows):.0%} of them with missing values",
    )
    return [row, *_drop_ins(found), *_decision(found)]


def _drop_ins(found: Found) -> list[Row]:
    """Compare the model that `headway.optimize` returns with the library, both called with the same kind of row."""
    made = []
    for name, rows in (("drop_in_one_row", ""), ("drop_in_frame_row", FRAME)):
        if all(key + rows in found.timed for key in (DROP_IN, *CALLED)):
            drop_in = replace(found, timed={**found.timed, OURS: found.timed[DROP_IN + rows]})
            made.append(ratio(drop_in, name, "one_row", target=0, against=found.called(rows)))
    return made


def _decision(found: Found) -> list[Row]:
    """Compare the decision alone with one by the score; the row falls short if any differs."""
    if DECIDED not in found.timed or SCORED not in found.timed:
        return []
    alone = replace(found, timed={**found.timed, OURS: found.timed[DECIDED]})
    row = ratio(
        alone, "decide_one_row", "one_row", target=found.family.decide_target, against=(SCORED, "score, then decide")
    )
    decided, scored = (found.timed[name].answers for name in (DECIDED, SCORED))
    both = min(len(decided), len(scored))
    differ = int(np.sum(decided[:both] != scored[:both]))
    return [replace(row, ok=row.ok and not differ, against=f"{row.against}; {differ} of {both:,} decisions differ")]


def largest_change(theirs: Floats, ours: Floats) -> float:
    """Return the largest difference over the common rows; infinite if a prediction is NaN."""
    both = min(len(theirs), len(ours))
    if theirs.shape[1:] != ours.shape[1:]:
        return float("inf")
    return float(np.nan_to_num(np.abs(theirs[:both] - ours[:both]), nan=np.inf).max())


def least_cosine(theirs: Floats, ours: Floats) -> float:
    """Return the smallest cosine over the common rows."""
    both = min(len(theirs), len(ours))
    theirs, ours = theirs[:both], ours[:both]
    lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1)
    return float(((theirs * ours).sum(axis=1) / lengths).min())


def harm_of(family: Family, theirs: Floats, ours: Floats) -> float:
    """Return the family's measure; 0 means unchanged."""
    if family.measure == "cosine":
        return 1 - least_cosine(theirs, ours)
    if family.measure == "max_change":
        return largest_change(theirs, ours)
    return accuracy(theirs, family.labels) - accuracy(ours, family.labels)


def share_missing(file: Path) -> float:
    """Return the share of rows with a missing value."""
    rows = joblib.load(file) if file.suffix == ".joblib" else np.load(file)
    return float(pd.DataFrame(rows.toarray() if hasattr(rows, "tocsr") else rows).isna().any(axis=1).mean())


@cache
def _labels(file: Path) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = np.load(file)
    return labels


def accuracy(answers: Floats, labels: Path) -> float:
    """Return the share of rows whose most probable class is correct."""
    return float(np.mean(np.argmax(answers, axis=1) == _labels(labels)[: len(answers)]))


def ratio(found: Found, name: str, kind: str, *, target: float, against: tuple[str, str]) -> Row:
    """Return the ratio of another caller's time to ours by round, with the range of the rounds."""
    other, message = against
    mine = found.timed[BATCH if kind == "batch256" and BATCH in found.timed else OURS]
    theirs = found.timed[other]
    ratios = sorted(b / a for a, b in zip(getattr(mine, kind), getattr(theirs, kind), strict=True))
    found_by = found.search.get(kind, "")
    figures = f"{theirs.us(kind):.4g} {UNITS[kind]}, ours {mine.us(kind):.4g}{found_by and f' by {found_by}'}"
    row = shown(f"{found.family.name}.{name}", median(ratios), "x", f"{message} {figures}; {_spread(ratios)}")
    return replace(row, target=f">= {target:g}", ok=row.measured >= target) if target else row


def _spread(ratios: list[float]) -> str:
    return f"rounds {ratios[0]:.3g} to {ratios[-1]:.3g}"


def _theirs(found: Found) -> list[Row]:
    """Return the figures of the other callers if ours is absent."""
    return [
        shown(f"{found.family.name}.{name.replace(' ', '_')}.{kind}", timed.us(kind), UNITS[kind], _note(found, name))
        for kind in KINDS
        for name, timed in found.timed.items()
    ]


def _note(found: Found, name: str) -> str:
    return f"{found.family.measure} {found.harm(name):.2g}" if name in found.family.peers else ""
