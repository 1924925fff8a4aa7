"""Test whether the inputs of a period moved away from the reference: several tests share one false-alarm budget.

- `permutation`: runs of days are permuted between the two periods, all features together. It pools many small changes
  of many features. A few runs have few permutations, and so a smallest p-value: if that is above the share of this
  test, the share goes to the other tests. The share is large for a short reference, from which a forecast learns
  little. Both choices depend only on numbers of days.
- `period`, `longer`, `runs`: the period, the last quarter and year up to its end, and every run of days inside it are
  compared with the forecast from the reference. They have a p-value at any level.
- `shares`: for features derived from texts and answers, the distance of the shares of all categories in a week from
  those of the reference, which shows a change of many rare ones.
- `sequential`: all days since the reference, for slow shifts. Its share is of the budget of the year, not of the level
  of each period.

The rules of `input_rules` spend none of the budget: an input that is missing, constant, out of range or in another unit
is found at any level.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.monitoring import BrokenInput, Drift
from headway.core.release import Contract
from headway.data.context import Window, Windows, run_detector
from headway.evaluation.statistics.intervals import exact_measurement
from headway.evaluation.statistics.tables import tally
from headway.monitoring.daily_values import (
    DailyValues,
    FeatureReader,
    daily_values,
    feature_readers,
    joined,
    series_of,
)
from headway.monitoring.drift import feature_values, make_bins
from headway.monitoring.forecast import FormResult, distances_of_shares, forecast_forms
from headway.monitoring.input_rules import broken_finding, broken_inputs

PERMUTATION_SHARES = {"short": 0.9, "long": 0.5}
"""Part of the level of a period for the permutation, by the length of the reference."""
LONG_REFERENCE = 84
"""Days of a long reference."""
FORECAST_SHARES = {"period": 0.6, "longer": 0.2, "runs": 0.2, "shares": 0.6}
"""Parts of the rest; those of forms that do not apply go to the others."""
SEQUENTIAL_SHARE = 0.05
"""Part of the year's budget for all evaluations of the sequential form."""
METHOD = "forecast of daily values and permutation of days, one level"
DETECTOR = "group_permutation"
MAX_BLOCKS = 60
NAMED_FEATURES = 3
_FORMS = {
    "permutation": "by permutation of days",
    "period": "by the forecast of the period",
    "longer": "by the forecast of the last quarter or year",
    "runs": "by the forecast of a run of days",
    "sequential": "by all days since then",
    "shares": "by the shares of all classes or words in a week",
}


def judge_inputs(
    windows: Windows, *, year_alpha: float, contract: Contract | None = None, left_out: Collection[int] = ()
) -> Drift:
    """Test the inputs of a period at the level of `windows`, and apply the rules.

    Parameters
    ----------
    windows : Windows
        The reference, the period and the days between them; `alpha` is the level of this period.
    year_alpha : float
        False-alarm budget of the year; the sequential form has a share of it.
    contract : Contract, optional
        Ranges of the release.
    left_out : collection of int
        Days before the period, counted from 1970, on which an input was broken: only the rules read them.

    Returns
    -------
    Drift
        `drift.p` is comparable with the level: each form's p-value is divided by that form's part.

    Raises
    ------
    NotApplicable
        If no form can judge the period at its level.
    """
    alpha = windows.alpha
    broken = find_broken_inputs(windows, contract)
    forecast = _forecast(windows, contract, left_out)
    share = _permutation_share(windows) if forecast else 1.0
    permutation, permuted = run_detector(DETECTOR, replace(windows, alpha=share * alpha)), {}
    if not isinstance(permutation, NotApplicable):
        permuted = {"permutation": _of_permutation(permutation, windows)}
    elif forecast:
        share = 0.0
    else:
        raise permutation
    forms = {**permuted, **forecast}
    weights = _weights(forms, share=share, alpha=alpha, year_alpha=year_alpha)
    p = {form: min(1.0, found.p / weights[form]) for form, found in forms.items()}
    by_feature = {
        form: np.minimum(1.0, _corrected(form, found.by_feature) / weights[form]) for form, found in forms.items()
    }
    best = min(p, key=lambda form: p[form])
    of_features = np.min(list(by_feature.values()), axis=0)
    n_rows = len(windows.before.rows) + len(windows.after.rows)
    measured = [exact_measurement("drift.p", p[best], n_rows=n_rows, method=METHOD)]
    measured += [
        changed(exact_measurement("drift.p", float(value), n_rows=n_rows, method=METHOD), slice=name)
        for name, value in zip(windows.signature.names, of_features, strict=True)
    ]
    findings = _findings(windows, p[best], best, of_features) if p[best] <= alpha else []
    named = {entry.column for entry in broken}
    findings = [*map(broken_finding, broken), *(finding for finding in findings if finding.where not in named)]
    return Drift(alarm=bool(findings), measurements=tuple(measured), findings=tuple(findings), broken=tuple(broken))


def find_broken_inputs(windows: Windows, contract: Contract | None = None) -> list[BrokenInput]:
    """Apply the rules to the days of a period, or to its groups if days are not known."""
    windows = _by_days(windows)
    readers = feature_readers(windows.before, windows.signature, contract)
    before, later, n_days = _daily(windows, readers)
    return broken_inputs(windows, before, later, series_of(readers), n_days=n_days)


def _permutation_share(windows: Windows) -> float:
    n_days = len(np.unique(windows.before.groups))
    return PERMUTATION_SHARES["long" if n_days >= LONG_REFERENCE else "short"]


def _of_permutation(drift: Drift, windows: Windows) -> FormResult:
    p = {found.slice: found.value for found in drift.measurements if found.name == "drift.p"}
    return FormResult(p=p[""], by_feature=np.array([p[name] for name in windows.signature.names]))


def _forecast(windows: Windows, contract: Contract | None, left_out: Collection[int]) -> dict[str, FormResult]:
    """Return the forms of the forecast; none if the reference is too short."""
    between = windows.between
    if left_out and between is not None and between.days is not None:
        windows = replace(windows, between=between.subset(~np.isin(between.days, list(left_out))))
    windows = windows if windows.run > 1 else _by_blocks(windows)
    readers = feature_readers(windows.before, windows.signature, contract)
    before, later, n_days = _daily(windows, readers)
    try:
        forms = forecast_forms(before, later, series_of(readers), n_days=n_days)
    except NotApplicable:
        return {}
    distances = distances_of_shares(windows)
    return forms if distances is None else forms | {"shares": distances}


def _daily(windows: Windows, readers: Sequence[FeatureReader]) -> tuple[DailyValues, DailyValues, int]:
    """Return the daily values of the reference and of all later days, and the number of days of the period."""
    before, after = (daily_values(readers, part) for part in (windows.before, windows.after))
    earlier = [daily_values(readers, windows.between)] if windows.between and len(windows.between.rows) else []
    return before, joined([*earlier, after]), len(after)


def _by_days(windows: Windows) -> Windows:
    """Return the windows with calendar days as groups, where they are known; else with blocks of neighboring groups."""
    by_day = [part and part.by_day() for part in (windows.before, windows.between, windows.after)]
    before, between, after = by_day
    if before is None or after is None or (windows.between is not None and between is None):
        return windows if windows.run > 1 else _by_blocks(windows)
    return replace(windows, before=before, between=between, after=after)


def _by_blocks(windows: Windows) -> Windows:
    """Return the windows with neighboring groups as one, so that a block has rows enough for a level and a spread."""
    size = max(1, len(np.unique(windows.before.groups)) // MAX_BLOCKS)
    begin = 0
    parts: list[Window | None] = []
    for window in (windows.before, windows.between, windows.after):
        if window is None or not len(window.rows):
            parts.append(None)
            continue
        blocks: Ints = begin + np.unique(window.groups, return_inverse=True)[1].astype(np.int64) // size
        begin = int(blocks.max()) + 1
        parts.append(replace(window, groups=blocks))
    before, between, after = parts
    return replace(windows, before=before or windows.before, between=between, after=after or windows.after)


def _weights(forms: Mapping[str, FormResult], *, share: float, alpha: float, year_alpha: float) -> dict[str, float]:
    """Return the part of the level that each form has, given that of the permutation; all sum to 1.

    The sequential form has its part of the year's budget, whatever the level of the period.
    """
    parts = {form: part for form, part in FORECAST_SHARES.items() if form in forms}
    rest = max(1 - SEQUENTIAL_SHARE - share, 0.0)
    others = {form: rest * part / sum(parts.values()) for form, part in parts.items()}
    return {"permutation": share, **others, "sequential": SEQUENTIAL_SHARE * year_alpha / alpha}


def _corrected(form: str, p: Floats) -> Floats:
    """Correct the p-values of the features for their number; permutation has done so by the maximum."""
    return p if form == "permutation" else np.minimum(1.0, p * len(p))


def _findings(windows: Windows, p: float, form: str, by_feature: Floats) -> list[Finding]:
    """Return the finding of all features, then of each that is shown to have moved, smallest p first."""
    names, order = windows.signature.names, np.argsort(by_feature, kind="stable")
    (before, after), groups = (
        [len(part.rows) for part in (windows.before, windows.after)],
        [len(np.unique(part.groups)) for part in (windows.before, windows.after)],
    )
    largest = ", ".join(names[number] for number in order[:NAMED_FEATURES])
    overall = Finding(
        code="O001",
        severity="warn",
        message=f"the inputs changed (p {p:.3g} over {len(names)} features, {_FORMS[form]}): {before:,} rows of "
        f"{groups[0]} groups against {after:,} of {groups[1]}; most of all {largest}",
        where="all",
        measured=p,
        limit=windows.alpha,
        hint="fix the source of a feature that broke, or retrain if the world changed",
    )
    moved = [int(number) for number in order if by_feature[number] <= windows.alpha]
    return [overall, *(_feature_finding(windows, number, overall, float(by_feature[number])) for number in moved)]


def _feature_finding(windows: Windows, number: int, of_all: Finding, p: float) -> Finding:
    """Return the finding of one feature: how its texts changed, or the bin whose share changed most."""
    name, n_features = windows.signature.names[number], len(windows.signature.inputs)
    sentence = windows.sentences[name]() if name in windows.sentences else _bin_sentence(windows, number)
    message = f"{name} changed (p {p:.3g} after correction for {n_features} features): {sentence}"
    return changed(of_all, message=message, where=name, measured=p, hint="")


def _bin_sentence(windows: Windows, number: int) -> str:
    """Name the bin whose share changed most."""
    values = feature_values(windows, number)
    bins = make_bins(windows.signature.inputs[number], values)
    codes, split = bins.codes(values), len(windows.before.rows)
    counts = (
        tally(part, bins.size, window.weights)
        for part, window in ((codes[:split], windows.before), (codes[split:], windows.after))
    )
    one, two = (count / count.sum() for count in counts)
    largest = int(np.argmax(np.abs(one - two)))
    return f"{bins.label(largest)} was {one[largest]:.1%} of rows and is {two[largest]:.1%}"


def overall_p(drift: Drift) -> float:
    """Return the p-value over all features."""
    return next(found.value for found in drift.measurements if found.name == "drift.p" and not found.slice)
