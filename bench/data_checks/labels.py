"""The rows `labels.*` of bench/data.py: wrong labels ranked and counted, compared with cleanlab on the same tables.

5 % of the labels are flipped to another class, seed 0: of the flights of 2013 (two classes, with noisy labels) and of
the digits of scikit-learn (ten classes). Average precision is that of the flipped labels, ranked by the out-of-fold
probability of the label. cleanlab ranks twice: by its own recipe (five folds drawn by rows) and on the probabilities of
headway. The count of the digits is compared with the number of flipped labels; that of the flights, whose own labels
are doubtful too, is the count after minus the count before flipping.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC

import flight_data
from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.cli.demo import flights
from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset, Roles
from headway.data.labels.noise import LabelNoise, estimate_noise
from headway.data.labels.out_of_fold import OutOfFold, cross_fit
from headway.data.matrix import dataset_signature, matrix
from headway.evaluation.statistics.intervals import mean_over_repeats
from headway.monitoring.labeling.selection import next_rows_to_label

SHARE, MOST_S, SEEDS = 0.05, 500, 20
ROLES = Roles(
    target="late",
    time="departs_at",
    groups="date",
    slices=("carrier", "origin"),
    known=dict.fromkeys(flights.OUTCOME, "outcome"),
)
TINY = {"SEEDS": 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A table with flipped labels: rows float64 [n, d], flipped ones bool [n], probabilities and noise estimate."""

    rows: Floats
    turned: Floats
    out_of_fold: OutOfFold
    noise: LabelNoise

    @property
    def precision(self) -> float:
        """Average precision of the flipped labels, ranked by the probability of the label."""
        return float(average_precision_score(self.turned, -self.out_of_fold.label_probability))


def rows() -> Result:
    """Measure all rows; without cleanlab, a sentence replaces its rows."""
    table = flight_data.load().filter(pl.col("late").is_not_null())
    began = process_time()
    late, before = _of_flights(table, 0.0), process_time() - began
    began = process_time()
    air, took = _of_flights(table, SHARE), process_time() - began
    digits = _of_digits()
    found = [
        _counted(air, late.noise.count, digits),
        Row(
            name="labels.cpu_seconds",
            measured=took,
            unit="s",
            target="<= 12",
            ok=took <= 12,
            against=f"{len(table):,} flights, folds by day, ranked and counted; {before:.1f} the time before",
        ),
    ]
    try:
        return [*_compared_rows(air, digits), *found, _next_gain()], []
    except (Absent, subprocess.SubprocessError) as reason:
        return found, [f"labels.flights_ap_gain, labels.digits_ap_gain: {reason}"]


def _of_flights(table: pl.DataFrame, share: float) -> Case:
    turned = np.random.default_rng(0).random(len(table)) < share
    late = table["late"].to_numpy().astype(np.int8)
    noisy = table.with_columns(late=pl.Series(np.where(turned, 1 - late, late)))
    dataset = Dataset(name="flights", table=noisy, roles=ROLES)
    out_of_fold = cross_fit(dataset)
    return Case(
        rows=matrix(noisy, dataset_signature(dataset)),
        turned=turned,
        out_of_fold=out_of_fold,
        noise=estimate_noise(out_of_fold),
    )


def _of_digits(seed: int = 0) -> Case:
    pixels, digit = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    turned = rng.random(len(digit)) < SHARE
    labels: Ints = np.where(turned, (digit + rng.integers(1, 10, len(digit))) % 10, digit).astype(np.int64)
    model = SVC(gamma=0.001, probability=True, random_state=0)
    drawn = StratifiedKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, pixels, labels, cv=drawn, method="predict_proba")
    indices = np.arange(len(labels))
    out_of_fold = OutOfFold(
        rows=indices,
        labels=labels,
        probabilities=predicted,
        groups=indices,
        classes=tuple("0123456789"),
        confidence=predicted,
    )
    return Case(rows=pixels, turned=turned, out_of_fold=out_of_fold, noise=estimate_noise(out_of_fold))


def _counted(air: Case, before: float, digits: Case) -> Row:
    """Return the larger of both errors."""
    true, found = float(air.turned.sum()), air.noise.count - before
    of_air, of_digits = abs(found - true) / true, abs(digits.noise.count - digits.turned.sum()) / digits.turned.sum()
    message = (
        f"flights {of_air:.3f}: {before:,.0f} before, {air.noise.count:,.0f} after {true:,.0f} were turned;"
        f" digits {of_digits:.3f}: {digits.noise.count:,.0f} of {digits.turned.sum():,}"
    )
    worst = max(of_air, float(of_digits))
    return Row(name="labels.count_error", measured=worst, unit="", target="<= 0.2", ok=worst <= 0.2, against=message)


def _compared_rows(air: Case, digits: Case) -> list[Row]:
    theirs, versions = _theirs(air, digits)
    found: list[Row] = []
    for name, case in (("flights", air), ("digits", digits)):
        own, same = (float(average_precision_score(case.turned, -theirs[f"{name}.{way}"])) for way in ("own", "same"))
        gain = case.precision - max(own, same)
        message = f"{case.precision:.3f}; cleanlab {own:.3f} by its recipe, {same:.3f} on our probabilities; {versions}"
        row = Row(
            name=f"labels.{name}_ap_gain",
            measured=gain,
            unit="",
            target=">= -0.005",
            ok=gain >= -0.005,
            against=message,
        )
        found += [row, shown(f"labels.{name}_ap_over_recipe", case.precision - own, "")]
    return found


def _theirs(air: Case, digits: Case) -> tuple[dict[str, Floats], str]:
    """Run cleanlab in a separate environment; return its scores, its version and the CPU seconds of its recipe."""
    cases = {"flights": air, "digits": digits}
    arrays = {
        f"{name}.{part}": _part(case, part)
        for name, case in cases.items()
        for part in ("rows", "labels", "out_of_fold")
    }
    with tempfile.TemporaryDirectory() as directory:
        sent, found = Path(directory) / "given.npz", Path(directory) / "found.npz"
        np.savez(sent, texts=np.arange(3), **arrays)
        command = [str(home("labels")), "-W", "ignore", str(HERE / "callers/of_cleanlab.py"), str(sent), str(found)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=MOST_S, check=True)
        return dict(np.load(found)), run.stdout.strip()


def _next_gain() -> Row:
    """Return the accuracy gain of 100 chosen digits over 100 random ones, both added to 50.

    The interval is over seeds.
    """
    pixels, digit = load_digits(return_X_y=True)
    gains = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(digit))
        test, known, rest = order[:700], order[700:750], order[750:]
        model = SVC(gamma=0.001, probability=True, random_state=0).fit(pixels[known], digit[known])
        chosen = rest[next_rows_to_label(model.predict_proba(pixels[rest]), pixels[rest], np.arange(len(rest)), 100)]
        right = [
            float((SVC(gamma=0.001).fit(pixels[sample], digit[sample]).predict(pixels[test]) == digit[test]).mean())
            for sample in (np.r_[known, chosen], np.r_[known, rest[:100]])
        ]
        gains.append(right[0] - right[1])
    found = mean_over_repeats("labels.next_gain", np.array(gains), what="seeds")
    low = 2 * found.value - found.high
    against = f"accuracy on 700 digits, 95 % [{low:.3f}, {found.high:.3f}], {SEEDS} seeds"
    return shown("labels.next_gain", found.value, "", against)


def _part(case: Case, part: str) -> Floats | Ints:
    parts = {"rows": case.rows, "labels": case.out_of_fold.labels, "out_of_fold": case.out_of_fold.probabilities}
    return parts[part]
