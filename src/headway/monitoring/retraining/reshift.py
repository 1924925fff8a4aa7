"""Rolling recalibration as a release of its own: the live model set right as its last labelled days ask for.

What is judged is the rule, day by day: each of the last days is answered with the repair that could be fitted before
its first row, on labels that had come by then, and compared with what live answers. What is shipped is the next repair
of the same rule. It takes no training and turns no order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace as changed
from numpy.typing import NDArray

from headway.core.calibrator import Calibrator
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.frontier import Baseline, Frontier
from headway.core.training import Retraining
from headway.evaluation.calibration.apply import ready
from headway.evaluation.statistics.tables import Floats
from headway.evaluation.subject import self_test
from headway.monitoring.answered import Answered, answered, delay_of
from headway.monitoring.post import Post
from headway.monitoring.retraining.against_live import Held, held_out, judged, key_of, known, of_probabilities
from headway.monitoring.retraining.recalibrate import FEWEST_GROUPS, recalibrate
from headway.monitoring.retraining.retrain import outcome
from headway.registry.project import Project


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rolling:
    """Labelled rows since the training, the scores of the bare model [n], and which rows are judged, bool [n]."""

    rows: Answered
    raw: Floats
    judged: NDArray[np.bool_]
    held: Held
    calibrator: Calibrator


def rolling_of(project: Project, post: Post, dataset: Dataset, until: datetime | None) -> Rolling:
    """The next calibrator, and the last `[retrain] recalibrate_days` groups to judge the rule by.

    Raises DataError where groups are not declared, or fewer than 14 labelled ones have come since the training.
    """
    days = project.config.retrain.recalibrate_days
    labelled, end = known(project, dataset, until)
    rows = answered(post, labelled, since=post.trained_until)
    _expect(rows, dataset, days)
    raw = post.model.predict(rows.rows)[:, 0]
    chosen = rows.groups >= np.unique(rows.groups)[-days:][0]
    table = rows.part(chosen).table
    found = recalibrate(raw, rows.labels, rows.groups, days=days, by=project.config.retrain.recalibrate_by)
    name = f"the last {days} labelled groups, each with the repair of the day"
    return Rolling(
        rows=rows,
        raw=raw,
        judged=chosen,
        held=held_out(post, Dataset(name=name, table=table, roles=dataset.roles)),
        calibrator=changed(found, at=end.isoformat(timespec="seconds")),
    )


def roll(project: Project, post: Post, rolling: Rolling) -> Retraining:
    """The live model with the next calibrator, and the verdict on the rule against live; it moves no pointer."""
    rules = [str(rule) for rule in of_probabilities(project.config.policy).release]
    key = key_of("recalibrate", post.digest, rolling.held.digest, repr(rolling.calibrator), rules)
    done = outcome(project, key)
    if done:
        return done
    began = time.perf_counter()
    frontier = _frontier(project, post, rolling)
    calibrator = rolling.calibrator
    found = Retraining(
        name=project.name,
        key=key,
        live=post.digest,
        frontier=frontier,
        seconds=time.perf_counter() - began,
        message=f"{calibrator}, from {calibrator.n_rows:,} rows of the last {calibrator.n_groups} groups: "
        f"{frontier.winner.verdict.answer} against live",
    )
    project.keep(found)
    return found


def _frontier(project: Project, post: Post, rolling: Rolling) -> Frontier:
    variant = post.release.variant
    subject = rolling.held.subject(variant, post.model, scores=_day_by_day(project, rolling)[:, None])
    baseline = Baseline(
        model=post.training.model,
        threshold=post.release.threshold,
        data={**post.release.data, "recalibrated": rolling.held.digest},
        calibrator=rolling.calibrator,
        views=post.release.views,
        contract=post.release.contract,
    )
    return Frontier(
        name=project.name,
        baseline=baseline,
        judged=(),
        winner=judged(project, variant, rolling.held.measure(subject), of_probabilities(project.config.policy)),
        self_test=self_test(variant, subject.rows, project.blobs),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _day_by_day(project: Project, rolling: Rolling) -> Floats:
    """What each judged row is answered with the repair that could be had before the first row of its group -> [n]."""
    rows, retrain = rolling.rows, project.config.retrain
    delay = np.timedelta64(delay_of(project.config.data.label_delay))
    answers = rolling.raw.copy()
    for group in np.unique(rows.groups[rolling.judged]):
        today = rows.groups == group
        taught = (rows.times + delay <= rows.times[today].min()) & ~today
        calibrator = recalibrate(
            rolling.raw[taught],
            rows.labels[taught],
            rows.groups[taught],
            days=retrain.recalibrate_days,
            by=retrain.recalibrate_by,
        )
        answers[today] = ready(calibrator)(rolling.raw[today])
    return answers[rolling.judged]


def _expect(rows: Answered, dataset: Dataset, days: int) -> None:
    if not dataset.roles.groups:
        raise DataError("recalibration goes by groups, such as days", where="[data] groups", hint='groups = "date"')
    if days < FEWEST_GROUPS:
        raise DataError(
            f"recalibrate_days is {days}: a shift needs {FEWEST_GROUPS} groups", where="[retrain] recalibrate_days"
        )
    count = len(np.unique(rows.groups))
    if count < 2 * FEWEST_GROUPS:
        raise DataError(
            f"{count} labelled groups have come since live was trained, at least {2 * FEWEST_GROUPS} are needed",
            where=dataset.name,
            hint="wait for more labels",
        )
