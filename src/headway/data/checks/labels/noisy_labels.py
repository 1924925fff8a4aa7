"""D035: Labels look wrong to a model that was not trained on them; the share has an interval."""

from __future__ import annotations

import numpy as np

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.noise import MIN_ANCHORS, estimate_noise
from headway.data.labels.out_of_fold import SCREENING_ROWS, OutOfFold, out_of_fold

CODES = ("D035",)
LIMIT = 0.05
MIN_EXPLAINED = 0.2
"""Smallest pseudo R squared with which a surprising label counts as an error."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding on the share of wrong labels if its interval starts above 0.1 %; above 5 % it warns.

    It is undecided if most of them are in classes of fewer than 400 rows: half of such a class are its anchors, and
    classes that resemble each other (two models of a car) then look like wrong labels. At most about 60,000 rows, in
    whole groups, are used.

    Raises
    ------
    NotApplicable
        If the features explain less than a fifth of the target (McFadden's pseudo R squared). Unpredictable
        labels then look like wrong ones.
    """
    oof = out_of_fold(context.dataset, rows=SCREENING_ROWS)
    if (explained := _explained(oof)) < MIN_EXPLAINED:
        raise NotApplicable(
            f"the features explain {max(0.0, explained):.1%} of the target (pseudo R squared), and {MIN_EXPLAINED:.0%} "
            "are needed to separate wrong labels from unpredictable ones",
            hint="add better features; headway labels suspects still ranks the labels",
        )
    noise, rows = estimate_noise(oof), len(oof.labels)
    share = noise.count / rows
    if noise.standard_errors is None:
        low, count = share, f"about {noise.count:,.0f} ({oof.n_groups} groups are too few for a range)"
    else:
        low, high = (share + sign * noise.t_quantile * float(noise.standard_errors[-1]) / rows for sign in (-1, 1))
        low, high = max(0.0, low), min(1.0, high)
        count = f"between {low * rows:,.0f} and {high * rows:,.0f}"
    if low <= 0.001:
        return []
    small = np.bincount(oof.labels, minlength=len(oof.classes)) < 2 * MIN_ANCHORS
    is_small = low > LIMIT and noise.counts[small].sum() > noise.count / 2
    few = f"; or classes resemble each other: fewer than {2 * MIN_ANCHORS} rows of a class do not show which"
    roles, worst = context.dataset.roles, int((noise.counts / rows).argmax())
    name = roles.classes[int(oof.classes[worst])] if roles.classes else oof.classes[worst]
    return [
        Finding(
            code="D035",
            severity="undecided" if is_small else "warn" if low > LIMIT else "note",
            message=f"{count} of {rows:,} labels look wrong (about {share:.1%}; {oof.n_groups:,} groups), most"
            f" often those of class '{name}'{few if is_small else ''}",
            where=f"column {roles.target}",
            measured=share,
            limit=LIMIT,
            hint="headway labels suspects",
        )
    ]


def _explained(oof: OutOfFold) -> float:
    """Return McFadden's pseudo R squared of the predictions: at most 1, negative if worse than the class shares."""
    counts = np.bincount(oof.labels, minlength=len(oof.classes))
    shares = counts[counts > 0] / counts.sum()
    right = np.clip(oof.probabilities[np.arange(len(oof.labels)), oof.labels], 1e-6, 1)
    return 1 - float(-np.log(right).mean() / -(shares * np.log(shares)).sum())
