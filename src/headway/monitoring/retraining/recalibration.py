"""Rolling recalibration as a release: the live model with a calibrator fitted on its last labeled days.

The rule is judged day by day: each of the last days is predicted with the calibrator that could be fitted before its
first row, on labels that had arrived by then, and compared with the predictions of live. The next calibrator of the
same rule is released. No model is trained, and ranks within a day do not change.

Only rows that the model was not trained on may be used. A shift of the log-odds is shrunk to 0 by a ridge penalty: its
expected size is SPREAD (odds change by a factor of 1.6), and labels count by their design effect (Kish 1965), not as
independent rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from dataclasses import replace as replace_dataclass
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints, logit, sigmoid
from headway.core.calibrator import Calibrator
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.search_result import Baseline, SearchResult
from headway.core.training import Retraining
from headway.data.settings.data import DataSection
from headway.data.settings.policy import PolicySection
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.calibration.methods import CALIBRATION_METHODS, choose_calibrator
from headway.evaluation.comparison import record_self_test
from headway.evaluation.statistics.tables import tally
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.retraining.retrain import (
    HoldoutSet,
    certify_answers,
    find_outcome,
    judge_against_live,
    make_holdout,
    outcome_key,
    recalibration_rules,
    require_healthy_days,
    rows_labeled_by,
)
from headway.monitoring.scored_rows import ScoredRows, parse_delay, score_rows
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.project import Project


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RollingRecalibration:
    """Labeled rows since training, scores of the bare model [n], which rows are judged [n], and the next calibrator."""

    rows: ScoredRows
    raw: Floats
    judged: Bools
    holdout: HoldoutSet
    calibrator: Calibrator


def prepare_recalibration(
    project: Project, deployed: DeployedRelease, dataset: Dataset, until: datetime | None
) -> RollingRecalibration:
    """Fit the next calibrator, and select the last `[retrain] recalibrate_days` groups to judge the rule by.

    Raises DataError if groups are not declared, if fewer than 14 labeled ones have arrived since the training, or if an
    input is out of its range on a day to judge by.
    """
    days = project.config[RetrainSection].recalibrate_days
    labeled, end = rows_labeled_by(project, dataset, until)
    rows = score_rows(deployed, labeled, since=deployed.trained_until)
    _require_groups(rows, dataset, days)
    raw = deployed.model.predict(rows.rows)[:, 0]
    chosen = rows.groups >= np.unique(rows.groups)[-days:][0]
    table = rows.subset(chosen).table
    require_healthy_days(project, deployed, dataset, replace_dataclass(dataset, table=table), end)
    found = fit_rolling_calibrator(
        raw, rows.labels, rows.groups, days=days, by=project.config[RetrainSection].recalibrate_by
    )
    name = f"the last {days} labeled groups, each with the calibrator of its day"
    return RollingRecalibration(
        rows=rows,
        raw=raw,
        judged=chosen,
        holdout=make_holdout(deployed, Dataset(name=name, table=table, roles=dataset.roles)),
        calibrator=replace(found, at=end.isoformat(timespec="seconds")),
    )


def recalibrate_release(project: Project, deployed: DeployedRelease, rolling: RollingRecalibration) -> Retraining:
    """Judge the rule against live, and return the live model with the next calibrator; no pointer moves."""
    rules = [str(rule) for rule in recalibration_rules(project.config[PolicySection]).release]
    key = outcome_key("recalibrate", deployed.digest, rolling.holdout.digest, repr(rolling.calibrator), rules)
    done = find_outcome(project, key)
    if done:
        return done
    began = time.perf_counter()
    result = _search_result(project, deployed, rolling)
    calibrator = rolling.calibrator
    found = Retraining(
        name=project.name,
        key=key,
        live=deployed.digest,
        search_result=result,
        seconds=time.perf_counter() - began,
        message=f"{calibrator}, from {calibrator.n_rows:,} rows of the last {calibrator.n_groups} groups: "
        f"{result.winner.verdict.answer} against live",
    )
    project.save(found)
    return found


def _search_result(project: Project, deployed: DeployedRelease, rolling: RollingRecalibration) -> SearchResult:
    variant = deployed.release.variant
    subject = rolling.holdout.subject(variant, deployed.model, scores=_day_by_day(project, rolling)[:, None])
    baseline = Baseline(
        model=deployed.training.model,
        training=deployed.release.training,
        threshold=deployed.release.threshold,
        threshold_rule=deployed.release.threshold_rule,
        data={**deployed.release.data, "recalibrated": rolling.holdout.digest},
        calibrator=rolling.calibrator,
        views=deployed.release.views,
        contract=deployed.release.contract,
    )
    answers = certify_answers(project, rolling.holdout, subject)
    evidence = answers.added_to(rolling.holdout.measure(subject))
    return SearchResult(
        name=project.name,
        baseline=baseline,
        evaluated=(),
        winner=judge_against_live(project, variant, evidence, recalibration_rules(project.config[PolicySection])),
        answers=answers.plan,
        self_test=record_self_test(variant, subject.rows, project.blobs),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _day_by_day(project: Project, rolling: RollingRecalibration) -> Floats:
    """Predict each judged row with the calibrator that was available before the first row of its group -> [n]."""
    rows, retrain = rolling.rows, project.config[RetrainSection]
    delay = np.timedelta64(parse_delay(project.config[DataSection].label_delay))
    answers = rolling.raw.copy()
    for group in np.unique(rows.groups[rolling.judged]):
        today = rows.groups == group
        usable = (rows.times + delay <= rows.times[today].min()) & ~today
        calibrator = fit_rolling_calibrator(
            rolling.raw[usable],
            rows.labels[usable],
            rows.groups[usable],
            days=retrain.recalibrate_days,
            by=retrain.recalibrate_by,
        )
        answers[today] = calibration_function(calibrator)(rolling.raw[today])
    return answers[rolling.judged]


def _require_groups(rows: ScoredRows, dataset: Dataset, days: int) -> None:
    if not dataset.roles.groups:
        raise DataError("recalibration needs groups, such as days", where="[data] groups", hint='groups = "date"')
    if days < MIN_GROUPS:
        raise DataError(
            f"recalibrate_days is {days}: a shift needs {MIN_GROUPS} groups", where="[retrain] recalibrate_days"
        )
    count = len(np.unique(rows.groups))
    if count < 2 * MIN_GROUPS:
        raise DataError(
            f"{count} labeled groups have arrived since live was trained, at least {2 * MIN_GROUPS} are needed",
            where=dataset.name,
            hint="wait for more labels",
        )


SPREAD = 0.5
MIN_GROUPS = 7
_SMALLEST = 1e-6
_STEPS = 50
_TOLERANCE = 1e-10


def fit_rolling_calibrator(
    scores: Floats, labels: Floats, groups: Ints, *, days: int = 28, by: str = "shift"
) -> Calibrator:
    """Fit a calibrator on the last `days` groups.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Scores in [0, 1].
    labels : ndarray of shape (n,)
        Labels, 0 or 1.
    groups : ndarray of shape (n,)
        Groups in order of time, int64.
    days : int
        Number of groups to fit on; below 7 groups the calibrator is the identity.
    by : str
        Name of a calibration method, or "best" for the one that is best on the later half.

    Raises
    ------
    DataError
        If lengths differ, or scores and labels are out of range.
    """
    _require_valid(scores, labels, groups)
    numbers = np.unique(groups)[-days:]
    if len(numbers) < MIN_GROUPS:
        return Calibrator()
    recent = groups >= numbers[0]
    scores, labels, codes = scores[recent], labels[recent], np.searchsorted(numbers, groups[recent])
    found = choose_calibrator(scores, labels, codes, _FITS) if by == "best" else _FITS[by](scores, labels, codes)
    return replace(found, n_rows=len(scores), n_groups=len(numbers))


def _fit_shift(scores: Floats, labels: Floats, groups: Ints) -> Calibrator:
    """Fit the shift b of log-odds(score) + b by penalized likelihood, ridge = design effect / SPREAD^2."""
    odds, codes = logit(scores, epsilon=_SMALLEST), np.unique(groups, return_inverse=True)[1]
    free = _shift(odds, labels, ridge=0.0)
    ridge = _design_effect(odds + free, labels, codes) / SPREAD**2
    return Calibrator(shift=_shift(odds, labels, ridge=ridge))


def _require_valid(scores: Floats, labels: Floats, groups: Ints) -> None:
    if not len(scores) == len(labels) == len(groups):
        raise DataError(f"{len(scores)} scores, {len(labels)} labels, {len(groups)} groups", hint="one of each a row")
    if len(scores) and not (np.isin(labels, (0.0, 1.0)).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise DataError("labels must be 0 or 1, scores in [0, 1]")


def _shift(odds: Floats, labels: Floats, *, ridge: float) -> float:
    """Maximize log likelihood - ridge b^2 / 2 by Newton's method in steps of at most 1, so one class converges too."""
    shift = 0.0
    for _ in range(_STEPS):
        rates = sigmoid(odds + shift)
        slope = float((labels - rates).sum()) - ridge * shift
        curve = float((rates * (1 - rates)).sum()) + ridge + _TOLERANCE
        step = min(max(slope / curve, -1.0), 1.0)
        shift += step
        if abs(step) < _TOLERANCE:
            break
    return shift


def _design_effect(odds: Floats, labels: Floats, codes: Ints) -> float:
    """Return by how much the sum of (label - rate) varies more by group than with independent rows, at least 1."""
    rates = sigmoid(odds)
    by_group = tally(codes, int(codes.max()) + 1, labels - rates)
    count = len(by_group)
    return max(
        1.0, float(np.square(by_group).sum() * count / (count - 1) / max((rates * (1 - rates)).sum(), _TOLERANCE))
    )


_FITS = {"shift": _fit_shift, **CALIBRATION_METHODS}
