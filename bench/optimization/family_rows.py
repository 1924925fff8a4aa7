"""The rows of one family in bench/optimize.py: ours against the library, and against the fastest peer that is right."""

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
from optimization.families import FAMILIES, KINDS, Family
from optimization.paired_timing import Caller, Timed, race
from optimization.preparation import compiled, searched

OURS, BATCH, DROP_IN = "headway", "headway in batches", "drop-in"
WAITS = 2
UNITS = {"one_row": "us", "batch256": "us of CPU"}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the race of a family gave: times and answers by name, and why others are not there."""

    family: Family
    timed: dict[str, Timed]
    absent: dict[str, str]
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def right(self) -> list[str]:
        """Peers whose answers keep the bound."""
        return [name for name in self.family.peers if name in self.timed and self.harm(name) <= self.family.bound]

    def harm(self, name: str) -> float:
        """The family's measure of the answers of a caller, beside the library's on one thread."""
        theirs, ours = self.timed["one thread"].answers, self.timed[name].answers
        return harm_of(self.family, theirs, ours)

    def called(self) -> tuple[str, str]:
        """Which of the library's callers one row is against, and how to say it.

        Where its own number of threads takes twice as long as one thread or more, those wait for cores that others
        hold: then it is against one thread, which flatters nobody.
        """
        called, alone = self.timed["as called"].us("one_row"), self.timed["one thread"].us("one_row")
        if called < WAITS * alone:
            return "as called", f"{self.family.message} (on one thread {alone:.4g} us)"
        return "one thread", f"{self.family.message} on one thread (as called its threads wait: {called:.4g} us)"

    def not_counted(self) -> list[str]:
        """Peers that are not counted, each with the reason."""
        timed = [name for name in self.family.peers if name in self.timed and name not in self.right]
        wrong = [f"{name}: {self.family.measure} {self.harm(name):.2g}" for name in timed]
        return [*wrong, *(f"{name}: {why}" for name, why in self.absent.items() if name in self.family.peers)]


def rows(name: str) -> tuple[list[Row], list[str]]:
    """The rows of a family, and sentences on what is absent."""
    found, said = raced(FAMILIES[name])
    return (rows_of(found), [*said, *unlike(found)]) if found else ([], said)


def raced(family: Family) -> tuple[Found | None, list[str]]:
    """What the race of a family gave, or the sentence that says why it was not run; and why ours is absent."""
    with tempfile.TemporaryDirectory() as kept:
        try:
            (ours, said), why = _ours(family, Path(kept)), ""
        except Absent as reason:
            ours, said, why = [], {}, str(reason)
        try:
            timed, absent = race([*family.callers(), *ours], rounds=family.rounds)
        except Absent as reason:
            return None, [f"{family.name}: {reason}"]
    if "one thread" not in timed or "as called" not in timed:
        return None, [f"{family.name}: the library does not answer: {absent}"]
    found = Found(family=family, timed=timed, absent=absent, said=said)
    return found, [] if OURS in timed else [f"{family.name}: {why or absent[OURS]}"]


def rows_of(found: Found) -> list[Row]:
    """The rows of a race; where ours is absent, the figures of the others."""
    if OURS not in found.timed:
        return _theirs(found)
    return [*against_library(found), *against_peers(found), *drift_costs(found)]


def unlike(found: Found) -> list[str]:
    """The sentence that no peer keeps the bound, where that is so."""
    return [] if found.right else [f"{found.family.name}: no peer keeps the bound ({'; '.join(found.not_counted())})"]


def _ours(family: Family, kept: Path) -> tuple[list[Caller], dict[str, Any]]:
    """Our callers, and what a search said: the engine for one row, another for batches or the drop-in."""
    if family.transforms:
        place = compiled(family.name, family.transforms, kept / "ours")
        ours = family.ours.of(OURS, place, family.rows)
        return [ours, replace(ours, name=DROP_IN, call="of_headway:drop_in", judged=False)], {}
    said = searched(family.order, kept, home=family.ours.home)
    return [
        family.caller(family.ours, OURS, kept / "one_row"),
        family.caller(family.ours, BATCH, kept / "batch256"),
    ], said


def against_library(found: Found) -> list[Row]:
    """`one_row` against the library as its users call it, `batch256` against it on one thread."""
    family = found.family
    said = {"one_row": found.called(), "batch256": ("one thread", f"{family.message} on one thread")}
    return [
        ratio(found, kind, kind, target=target, against=said[kind])
        for kind, target in zip(KINDS, family.targets[:2], strict=True)
    ]


def against_peers(found: Found) -> list[Row]:
    """`peer_one_row` and `peer_batch256`, each against the peer that is fastest at it."""
    made = []
    for kind, target in zip(KINDS, found.family.targets[2:], strict=True):
        order = sorted(found.right, key=lambda name: found.timed[name].us(kind))
        if order:
            others = [f"{name} {found.timed[name].us(kind):.4g} {UNITS[kind]}" for name in order[1:]]
            beside = [*others, *(f"not counted: {each}" for each in found.not_counted())]
            row = ratio(found, f"peer_{kind}", kind, target=target, against=(order[0], order[0]))
            made.append(replace(row, against="; ".join([row.against, *beside])))
    return made


def drift_costs(found: Found) -> list[Row]:
    """The family's measure of our answers, and what the model costs as `headway.optimize` returns it."""
    family, asked = found.family, len(found.timed[OURS].answers)
    harm = max(found.harm(name) for name in (OURS, BATCH) if name in found.timed)
    turned = family.measure == "cosine"
    row = Row(
        name=f"{family.name}.{family.measure}",
        measured=1 - harm if turned else harm,
        unit="",
        target=f">= {1 - family.bound:g}" if turned else f"<= {family.bound:g}",
        ok=harm <= family.bound and asked >= family.least_rows,
        against=f"{family.message} on {asked:,} rows, {share_missing(family.rows):.0%} of them with missing values",
    )
    if DROP_IN not in found.timed:
        return [row]
    drop_in = replace(found, timed={**found.timed, OURS: found.timed[DROP_IN]})
    return [row, ratio(drop_in, "drop_in_one_row", "one_row", target=0, against=found.called())]


def largest_change(theirs: Floats, ours: Floats) -> float:
    """The largest difference over the rows that both answered; infinite where one of them is no number."""
    both = min(len(theirs), len(ours))
    if theirs.shape[1:] != ours.shape[1:]:
        return float("inf")
    return float(np.nan_to_num(np.abs(theirs[:both] - ours[:both]), nan=np.inf).max())


def least_cosine(theirs: Floats, ours: Floats) -> float:
    """The least cosine over the rows that both answered."""
    both = min(len(theirs), len(ours))
    theirs, ours = theirs[:both], ours[:both]
    lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1)
    return float(((theirs * ours).sum(axis=1) / lengths).min())


def harm_of(family: Family, theirs: Floats, ours: Floats) -> float:
    """By the family's measure; none is 0."""
    if family.measure == "cosine":
        return 1 - least_cosine(theirs, ours)
    if family.measure == "max_change":
        return largest_change(theirs, ours)
    return accuracy(theirs, family.labels) - accuracy(ours, family.labels)


def share_missing(file: Path) -> float:
    """The share of rows with a missing value."""
    rows = joblib.load(file) if file.suffix == ".joblib" else np.load(file)
    return float(pd.DataFrame(rows).isna().any(axis=1).mean())


@cache
def _labels(file: Path) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = np.load(file)
    return labels


def accuracy(answers: Floats, labels: Path) -> float:
    """The share of rows whose most probable class is theirs."""
    return float(np.mean(np.argmax(answers, axis=1) == _labels(labels)[: len(answers)]))


def ratio(found: Found, name: str, kind: str, *, target: float, against: tuple[str, str]) -> Row:
    """How many times less time ours takes than another, by round, with the range of the rounds."""
    other, said = against
    mine = found.timed[BATCH if kind == "batch256" and BATCH in found.timed else OURS]
    theirs = found.timed[other]
    ratios = sorted(b / a for a, b in zip(getattr(mine, kind), getattr(theirs, kind), strict=True))
    found_by = found.said.get(kind, "")
    figures = f"{theirs.us(kind):.4g} {UNITS[kind]}, ours {mine.us(kind):.4g}{found_by and f' by {found_by}'}"
    row = shown(f"{found.family.name}.{name}", median(ratios), "x", f"{said} {figures}; {_spread(ratios)}")
    return replace(row, target=f">= {target:g}", ok=row.measured >= target) if target else row


def _spread(ratios: list[float]) -> str:
    return f"rounds {ratios[0]:.3g} to {ratios[-1]:.3g}"


def _theirs(found: Found) -> list[Row]:
    """Where ours is absent, the figures of the others are shown all the same."""
    return [
        shown(f"{found.family.name}.{name.replace(' ', '_')}.{kind}", timed.us(kind), UNITS[kind], _note(found, name))
        for kind in KINDS
        for name, timed in found.timed.items()
    ]


def _note(found: Found, name: str) -> str:
    return f"{found.family.measure} {found.harm(name):.2g}" if name in found.family.peers else ""
