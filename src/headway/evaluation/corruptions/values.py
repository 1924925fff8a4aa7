"""Values that are wrong where they stand: missing, unseen, noisy, or in another unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from headway.evaluation.corruptions.fault import Fault, Inputs, chance, with_columns
from headway.evaluation.statistics.intervals import Floats

GAPS, NOISE = 0.1, (0.1, 0.5)
UNITS: dict[str, Callable[[Floats], Floats]] = {
    "x 1000": lambda values: values * 1000,
    "/ 1000": lambda values: values / 1000,
    "x 60": lambda values: values * 60,
    "/ 60": lambda values: values / 60,
    "as C, is F": lambda values: (values - 32) / 1.8,
    "as F, is C": lambda values: values * 1.8 + 32,
}


def missing(inputs: Inputs) -> Iterator[Fault]:
    """Each part wholly missing; then a tenth of all values. Of one feature, a share of it does that share of harm."""
    for name, columns in inputs.parts.items():
        yield Fault(kind="missing", what=name, rows=partial(with_columns, inputs.rows, columns, np.nan))
    yield Fault(kind="missing", what=f"{GAPS:.0%} of all", rows=partial(_gaps, inputs.rows))


def unseen(inputs: Inputs) -> Iterator[Fault]:
    """Each text column with a text that the model does not know, read as its field says."""
    for at in inputs.texts:
        field = inputs.fields[at]
        if field.unseen != "refused":
            value = float(len(field.categories)) if field.unseen == "other" else np.nan
            yield Fault(kind="unseen", what=field.name, rows=partial(with_columns, inputs.rows, [at], value))


def noise(inputs: Inputs) -> Iterator[Fault]:
    """Normal noise of a tenth and of half the standard deviation on each column of numbers, then on all of them."""
    for share in NOISE:
        for at in inputs.numbers:
            what = f"{inputs.fields[at].name} +- {share:g} sd"
            yield Fault(kind="noise", what=what, rows=partial(_noisy, inputs, [at], share))
        if len(inputs.numbers) > 1:
            rows = partial(_noisy, inputs, inputs.numbers, share)
            yield Fault(kind="noise", what=f"all +- {share:g} sd", rows=rows)


def unit(inputs: Inputs) -> Iterator[Fault]:
    """Each column of numbers in another unit than the model learned."""
    for at in inputs.numbers:
        for slip, convert in UNITS.items():
            rows = partial(_converted, inputs.rows, at, convert)
            yield Fault(kind="unit", what=f"{inputs.fields[at].name} {slip}", rows=rows)


def _gaps(rows: Floats) -> Floats:
    return np.where(chance(len(rows)).random(rows.shape) < GAPS, np.nan, rows)


def _noisy(inputs: Inputs, columns: Sequence[int], share: float) -> Floats:
    altered = inputs.rows.copy()
    for at in columns:
        altered[:, at] += chance(at).normal(0, share * inputs.finite(at).std(), len(altered))
    return altered


def _converted(rows: Floats, at: int, convert: Callable[[Floats], Floats]) -> Floats:
    return with_columns(rows, [at], convert(rows[:, [at]]))
