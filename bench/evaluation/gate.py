"""The rows `gate.*` of bench/evidence.py: the error rates of the gate, and the number of days that it needs.

Days of May to December are drawn with repetition, so that their total is the truth; the gate evaluates the draw by the
rules of the demo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as named

from evaluation.days import Days
from evaluation.flight_rows import Flights, year
from harness import Row
from headway.core.arrays import Floats, Ints
from headway.core.evidence import Evidence, Measurement
from headway.core.threads import this_machine
from headway.core.verdict import Answer, Rule
from headway.data.settings.policy import PolicySection
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval, ratio_of_sums, t_interval
from headway.evaluation.statistics.tables import BinaryAnswers, leave_one_out_mean, tally
from headway.registry.judge import judge

WORLDS, DRAWN_DAYS, LIMIT = 2000, 62, 0.005
POWER_DAYS, POWER_WORLDS, POWER = (30, 62, 120, 245, 365, 500), 400, 0.9
AUC, BRIER, SLICE, FLIPS = "roc_auc.drop", "brier.drop", "worst_slice.brier.drop", "decision_churn"
SLICE_ROWS = 2000
SLICED = (0, 1)  # carrier and origin, the slices of the demo
THRESHOLD = 0.25
MACHINE = this_machine()
TINY = {"WORLDS": 2, "POWER_DAYS": (30,), "POWER_WORLDS": 2, "SLICE_ROWS": 10}


def rows() -> tuple[list[Row], list[str]]:
    """Measure all rows, each over at least 2,000 worlds."""
    data, rng = year().within(5, 12), np.random.default_rng(0)
    twins = Pair.of(data, data.scores, data.twin)
    harmed = _harmed(data, rng)
    absent = [] if harmed else [f"gate.harmed_slice_fail: no slice has {SLICE_ROWS:,} rows in {DRAWN_DAYS} days"]
    return [
        _false_fail(twins, rng),
        _false_pass(Pair.of(data, data.halved, data.scores), rng),
        _lossless(Pair.of(data, data.scores.astype(np.float32).astype(np.float64), data.scores), rng),
        *harmed,
        _power(twins, rng),
    ], absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A variant and a baseline, one line a day: score tables, the loss of each slice, and rows."""

    days: Days
    losses: Floats
    rows: Floats
    flips: Floats

    @classmethod
    def of(cls, data: Flights, scores: Floats, reference: Floats) -> Pair:
        """Tabulate the scores of a variant and of a baseline on the same flights."""
        answers = replace(data.answers(), scores=scores, reference=reference)
        lost = np.square(scores - data.late) - np.square(reference - data.late)
        flipped = (scores >= THRESHOLD) != (reference >= THRESHOLD)
        return cls(
            days=Days.of(answers),
            losses=_by_slice(data, answers, lost),
            rows=_by_slice(data, answers, np.ones(len(lost))),
            flips=answers.per_block(flipped.astype(np.float64)),
        )

    def swapped(self, rng: np.random.Generator) -> Pair:
        """Swap the two models on a random half of the days: equal in truth, and different on each day."""
        swap = rng.random(len(self.flips)) < 0.5
        return replace(self, days=self.days.swapped(swap), losses=np.where(swap, -self.losses, self.losses))

    def drawn(self, days: Ints) -> Pair:
        """Return a sample of the days, with repetition."""
        parts = {name: getattr(self, name)[..., days] for name in ("losses", "rows", "flips")}
        return Pair(days=self.days.drawn(days), **parts)

    def evidence(self) -> Evidence:
        """Return the measurements of quality, slices and parity."""
        overall = self.days.measured()
        without = leave_one_out_mean(self.flips, self.days.rows)
        sample = Sample(n_rows=int(self.days.rows.sum()), n_groups=len(self.flips), bounds=SHARE)
        flips = jackknife_interval(FLIPS, float(self.flips.sum() / self.days.rows.sum()), without, sample)
        measurements = (overall[AUC], overall[BRIER], flips, *self._slices())
        return Evidence(subject="", dataset="", period="test", machine=MACHINE, measurements=measurements)

    def _slices(self) -> list[Measurement]:
        there = np.flatnonzero(self.rows.sum(1) > 0)
        found = []
        for at, estimate in zip(there, ratio_of_sums(self.losses[there], self.rows[there]), strict=True):
            held = self.rows[at]
            sample = Sample(n_rows=int(held.sum()), n_groups=int((held > 0).sum()), bounds=CHANGE)
            found.append(named(t_interval(BRIER, estimate, sample), slice=f"slice {at}"))
        return found


def _by_slice(data: Flights, answers: BinaryAnswers, values: Floats) -> Floats:
    """Return sums of values over the rows of each slice by day, float64 [slices, days]."""
    count, found = answers.n_blocks, []
    for codes in (data.rows[:, at].astype(np.int64) for at in SLICED):
        cells = codes * count + answers.blocks
        found.append(tally(cells, (int(codes.max()) + 1) * count, values).reshape(-1, count))
    return np.vstack(found)


def _answer(pair: Pair, *rules: Rule) -> Answer:
    return judge(pair.evidence(), PolicySection(release=rules)).answer


def _rules(limit: float, *measures: str) -> list[Rule]:
    return [Rule(measure=measure, at_most=limit) for measure in measures]


def _demo() -> list[Rule]:
    return [*_rules(LIMIT, AUC, SLICE), Rule(measure=FLIPS, at_most=0.05)]


def _days(pair: Pair, rng: np.random.Generator, count: int = DRAWN_DAYS) -> Ints:
    return rng.integers(0, len(pair.flips), count)


def _row(name: str, share: float, target: str, ok: bool, against: str) -> Row:
    return Row(name=f"gate.{name}", measured=share, unit="share", target=target, ok=ok, against=against)


def _false_fail(twins: Pair, rng: np.random.Generator) -> Row:
    rules = _rules(0.0, AUC, BRIER, SLICE)
    worlds = (twins.drawn(_days(twins, rng)).swapped(rng) for _ in range(WORLDS))
    share = float(np.mean([_answer(pair, *rules) == "fail" for pair in worlds]))
    against = f"{WORLDS} draws of {DRAWN_DAYS} days, two seeds of one recipe that change places by day; three rules"
    return _row("false_fail", share, "<= 0.055", share <= 0.055, against)


def _false_pass(cut: Pair, rng: np.random.Generator) -> Row:
    """Evaluate half of the trees with their true loss as the limit of one rule."""
    truth = cut.days.values()
    passed = {}
    for measure in (AUC, BRIER):
        rule = Rule(measure=measure, at_most=truth[measure])
        worlds = (cut.drawn(_days(cut, rng)) for _ in range(WORLDS))
        passed[measure] = float(np.mean([_answer(pair, rule) == "pass" for pair in worlds]))
    message = ", ".join(f"{measure} at {truth[measure]:.4f}: {share:.3f}" for measure, share in passed.items())
    share = max(passed.values())
    return _row("false_pass", share, "<= 0.055", share <= 0.055, f"{WORLDS} draws of {DRAWN_DAYS} days each; {message}")


def _lossless(converted: Pair, rng: np.random.Generator) -> Row:
    worlds = (converted.drawn(_days(converted, rng)) for _ in range(WORLDS))
    share = float(np.mean([_answer(pair, *_demo()) == "pass" for pair in worlds]))
    return _row("lossless_pass", share, ">= 0.99", share >= 0.99, f"scores in single precision, {WORLDS} draws")


def _harmed(data: Flights, rng: np.random.Generator) -> list[Row]:
    """Degrade one slice after the other by the limit and 0.01: each prediction moves up or down at random."""
    spoiled, shifted = [], []
    for column in SLICED:
        for code in np.unique(data.rows[:, column]):
            inside = data.rows[:, column] == code
            if inside.sum() * DRAWN_DAYS >= SLICE_ROWS * len(np.unique(data.day)):
                sign = rng.choice([-1.0, 1.0], len(inside))
                spoiled.append(Pair.of(data, data.scores + inside * sign * np.sqrt(LIMIT + 0.01), data.scores))
                shifted.append(Pair.of(data, data.scores + inside * _shift(data, inside), data.scores))
    if not spoiled:
        return []
    shares = [_failed(pairs, rng) for pairs in (spoiled, shifted)]
    message = f"{WORLDS} draws of {DRAWN_DAYS} days over {len(spoiled)} slices, each answer moved up or down by chance"
    return [
        _row("harmed_slice_fail", shares[0], ">= 0.95", shares[0] >= 0.95, message),
        _row("harmed_slice_fail_shifted", shares[1], "shown", True, "all answers of the slice moved up: days differ"),
    ]


def _shift(data: Flights, inside: Floats) -> float:
    """Return the shift of a slice's scores that adds the limit + 0.01 to its Brier score: s^2 + 2 s b, b their bias."""
    bias = float((data.scores - data.late)[inside].mean())
    return float(np.sqrt(bias**2 + LIMIT + 0.01) - bias)


def _failed(pairs: Sequence[Pair], rng: np.random.Generator) -> float:
    worlds = (pair.drawn(_days(pair, rng)) for pair in (pairs[at % len(pairs)] for at in range(WORLDS)))
    return float(np.mean([_answer(pair, *_rules(LIMIT, AUC, SLICE)) == "fail" for pair in worlds]))


def _power(twins: Pair, rng: np.random.Generator) -> Row:
    """Return the fewest days on which equal pairs pass in nine of ten draws, over all rows and by slice."""
    overall, sliced = (
        _passed(twins, _rules(LIMIT, *measures), rng) for measures in ((AUC, BRIER), (AUC, BRIER, SLICE))
    )
    enough = next((days for days, share in overall.items() if share >= POWER), float("inf"))
    message = ", ".join(f"{days} days: {overall[days]:.2f} and {sliced[days]:.2f}" for days in POWER_DAYS)
    return Row(
        name="gate.power_groups",
        measured=enough,
        unit="days",
        target="stated",
        ok=True,
        against=f"90 % of equal pairs pass where {LIMIT} of AUC and Brier may be lost; with slices as well, {message}",
    )


def _passed(twins: Pair, rules: Sequence[Rule], rng: np.random.Generator) -> dict[int, float]:
    """Return the share of draws that pass, by number of days."""
    found = {}
    for days in POWER_DAYS:
        worlds = (twins.drawn(_days(twins, rng, days)).swapped(rng) for _ in range(POWER_WORLDS))
        found[days] = float(np.mean([_answer(pair, *rules) == "pass" for pair in worlds]))
    return found
