"""What the drift of a feature costs: the loss of known rows, weighted anew by where rows are now.

A feature's bins have the losses that the model showed on the labelled rows of the window before. If the feature moves
and the loss within each bin stays, the mean loss moves by the sum over bins of (new share - old share) * loss. It sees
that rows went where the model is poor, feature by feature; it does not see that the world changed within a bin (that is
what labels, and calibration without them, are for), and features that move together share one loss, so the figures of
several features do not add up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Windows
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import ANY, Estimate, Sample, interval, lean
from headway.evaluation.statistics.tables import Floats, Ints, tally
from headway.monitoring.drift.bins import bins_of, column

BINS = 10  # few, so that each has groups enough to know its loss
METHOD = "losses by bin reweighted, leave-one-group-out jackknife of both windows, neighbours lean, t"


def rank(windows: Windows, losses: Floats) -> list[Measurement]:
    """`drift.loss` of each feature (slice), most harmful first: the change of the mean loss that its drift explains.

    `losses` float64 [n_before], NaN where the label is not known: of any unit, squared errors or costs of decisions.
    Where no labelled row was in a bin, the mean loss stands for it. Raises NotApplicable where no loss is known.
    """
    if len(losses) != len(windows.before.rows):
        raise DataError(f"{len(losses)} losses for {len(windows.before.rows)} rows of the window before")
    known = ~np.isnan(losses)
    if not known.any():
        raise NotApplicable("no row of the window before has a known loss", hint="headway labels add")
    found = list(_losses(windows, losses, known))
    return sorted(found, key=lambda each: -each.value)


def _losses(windows: Windows, losses: Floats, known: Ints) -> Iterator[Measurement]:
    """One measurement a feature, in the order of the signature."""
    before, n_before = _dense(windows.before.groups[known])
    after, n_after = _dense(windows.after.groups)
    sample = Sample(n_rows=len(before) + len(after), n_groups=n_before + n_after, bounds=ANY)
    for number, field in enumerate(windows.signature.inputs):
        values = column(windows, number)
        bins = bins_of(field, values, most=BINS)
        codes, split = bins.codes(values), len(losses)
        cells = before * bins.size + codes[:split][known]
        lost = tally(cells, n_before * bins.size, losses[known]).reshape(n_before, bins.size)
        rows = tally(cells, n_before * bins.size).reshape(n_before, bins.size)
        now = tally(after * bins.size + codes[split:], n_after * bins.size).reshape(n_after, bins.size)
        yield replace(interval("drift.loss", _change(lost, rows, now), sample), slice=field.name)


def _change(lost: Floats, rows: Floats, now: Floats) -> Estimate:
    """The change explained, with the jackknife over the groups of both windows; tables [groups, bins]."""
    value = _explained(lost.sum(0), rows.sum(0), now.sum(0))
    before = _explained(lost.sum(0) - lost, rows.sum(0) - rows, now.sum(0))
    after = _explained(lost.sum(0), rows.sum(0), now.sum(0) - now)
    variance = sum(_variance(each) for each in (before, after))
    dof = min(len(before), len(after)) - 1
    return Estimate(value=float(value), se=float(np.sqrt(variance)), dof=dof, method=METHOD)


def _explained(lost: Floats, rows: Floats, now: Floats) -> Floats:
    """Sum over bins of the new shares times the losses by bin, less the mean loss; sums [..., bins] -> [...]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = lost.sum(-1, keepdims=True) / rows.sum(-1, keepdims=True)
        by_bin = np.where(rows > 0, lost / np.maximum(rows, 1), mean)
        change: Floats = (now / now.sum(-1, keepdims=True) * by_bin).sum(-1) - mean[..., 0]
    return change


def _variance(without_each: Floats) -> float:
    """The jackknife variance over groups in order of time."""
    count, influence = len(without_each), without_each - without_each.mean()
    return float((count - 1) / count * np.square(influence).sum() * lean(influence))


def _dense(groups: Ints) -> tuple[Ints, int]:
    numbers, codes = np.unique(groups, return_inverse=True)
    return codes.astype(np.int64), len(numbers)
