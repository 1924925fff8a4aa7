"""A live release over one period: did the inputs move, is it still right, what does it cost, and what to do.

O002: a part of a watch could not judge this period, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.contracts import Windows
from headway.core.dataset import Dataset
from headway.core.drift import Drift
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.plugins import load_detector
from headway.core.record import digest_of, write
from headway.core.ticket import Ticket
from headway.core.watch import Watch
from headway.data.open import digest
from headway.evidence.intervals import CHANGE, FEWEST_GROUPS, Estimate, Sample, interval
from headway.evidence.measure import measure
from headway.evidence.tables import Floats
from headway.observe import outlook
from headway.observe.answered import Answered, answered, delay_of, subject_of, windows
from headway.observe.no_labels import estimate
from headway.observe.post import Post
from headway.observe.price import decisions, expected_loss
from headway.observe.rank import rank
from headway.observe.trigger import Situation, propose

CODE = "O002"
DETECTOR = "group_permutation"
PROBES = ("quality", "calibration")
QUALITY = ("roc_auc", "brier", "ece", "base_rate")
CHANGES = ("roc_auc", "brier")
MONTH_DAYS = 365.25 / 12
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A period to be watched, as it stood at a time: beside it the period of the judge, and labelled ones before it.

    `past` are periods of like length which the model has not learned from, oldest first; `n_known` counts the labelled
    rows since the beginning of its training.
    """

    since: datetime
    until: datetime
    at: datetime
    window: Answered
    judged: Answered
    past: tuple[Answered, ...]
    n_known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A watch, with the evidence behind it where labels had come."""

    watch: Watch
    evidence: Evidence | None


def scenes(post: Post, dataset: Dataset, config: Config, *, until: datetime | None, every: str) -> Iterator[Scene]:
    """Each period since the release was judged, as it stood when the labels of its last row had come, or at `until`.

    Without `until` all labels of the table have come. A period that has only begun is left for later, unless it has 20
    groups. Rows are answered once for all periods.
    """
    delay = delay_of(config.data.label_delay)
    rows = answered(post, dataset, since=post.trained_until)
    end = _end(rows) if len(rows) else post.trained_until
    until = until or end + delay
    since, judged_until = post.judged
    rows = rows.between(post.trained_until, until)
    cut = list(windows(rows, every=every))
    for start, stop, part in windows(rows.between(judged_until, until), every=every):
        start = max(start, judged_until)
        if stop > until and len(np.unique(part.groups)) < FEWEST_GROUPS:
            continue
        at = min(stop + delay, until)
        then = rows.as_of(at, delay)
        yield Scene(
            since=start,
            until=min(stop, until),
            at=at,
            window=_named(then.between(start, stop), start, every),
            judged=then.between(since, judged_until).known(),
            past=tuple(then.between(first, last).known() for first, last, _ in cut if last <= start),
            n_known=post.training.n_rows + len(then.between(post.trained_until, stop).known()),
        )


def watch(post: Post, scene: Scene, config: Config, *, pending: Ticket | None = None) -> Seen:
    """What a period shows of a release, and a ticket to train anew where the policy asks for one and none is pending.

    It opens no ticket before labels of the period have come.
    """
    parts = _Parts(scene)
    drift = parts.ask("drift", lambda: _drift(post, scene))
    harms = parts.ask("rank", lambda: _harms(post, scene, config)) if drift and drift.alarm else None
    estimated = parts.ask("estimate without labels", lambda: _estimated(post, scene))
    now = parts.ask("quality", lambda: _quality(post, scene.window, scene.window.name))
    before = parts.ask("quality when judged", lambda: _quality(post, scene.judged, "judged")) if now else None
    cost = parts.ask("cost", lambda: _cost(post, scene, config)) if now else None
    found = Watch(
        name=post.release.name,
        release=post.digest,
        period=scene.window.name,
        since=scene.since.isoformat(),
        until=scene.until.isoformat(),
        n_rows=len(scene.window),
        n_labelled=len(scene.window.known()),
        outlook="unknown",
        says="",
        drift=drift,
        harms=tuple(harms or ()),
        quality=tuple(each for each in now.measurements if each.name in QUALITY) if now else (),
        change=tuple(_changes(now, before)) if now and before else (),
        cost=cost,
        estimated=tuple(estimated or ()),
        unknown=tuple(parts.unknown),
        evidence=digest_of(write(now)) if now else "",
        at=scene.at.isoformat(),
    )
    return Seen(watch=_judged(found, post, scene, config, pending), evidence=now)


def _judged(found: Watch, post: Post, scene: Scene, config: Config, pending: Ticket | None) -> Watch:
    """The watch with its outlook, the sentence, and a ticket if the policy opens one."""
    seen = replace(found, outlook=outlook.of(found, config.retrain))
    situation = Situation(
        name=found.name,
        release=found.release,
        rows_trained=post.training.n_rows,
        rows_labelled=scene.n_known,
        calibration=found.find("ece"),
        expected_loss=found.cost,
        price_s=post.training.seconds * config.retrain.seeds,
        evidence=(found.evidence,) if found.evidence else (),
        at=found.at,
    )
    ticket = propose(situation, config.retrain, pending=pending) if found.n_labelled else None
    seen = replace(seen, ticket=ticket)
    return replace(seen, says=outlook.sentence(seen, config.retrain, pending=pending is not None))


class _Parts:
    """Parts of a watch, asked one by one; what cannot judge leaves a finding that says so."""

    def __init__(self, scene: Scene) -> None:
        self.where = scene.window.name
        self.unknown: list[Finding] = []

    def ask(self, part: str, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except (NotApplicable, DataError) as reason:
            says = f"{part} cannot be said: {reason.what}"
            self.unknown.append(
                Finding(code=CODE, severity="undecided", says=says, where=reason.where or self.where, mend=reason.mend)
            )
            return None


def _drift(post: Post, scene: Scene) -> Drift:
    return load_detector(DETECTOR)(_windows(post, scene))


def _windows(post: Post, scene: Scene) -> Windows:
    return Windows(
        before=scene.judged.window(),
        after=scene.window.window(),
        signature=post.release.variant.signature,
        run=scene.window.run,
    )


def _harms(post: Post, scene: Scene, config: Config) -> list[Measurement]:
    """What the drift of each feature is estimated to cost a row, in the unit of `[model] costs`."""
    _expect_binary(post)
    lost = _costs(post, scene.judged, config)
    return [replace(each, unit="cost a row") for each in rank(_windows(post, scene), lost)]


def _costs(post: Post, rows: Answered, config: Config) -> Floats:
    return decisions(rows.scores, rows.labels, threshold=post.release.threshold, costs=config.model.costs)


def _estimated(post: Post, scene: Scene) -> list[Measurement]:
    _expect_binary(post)
    past = [each.scored() for each in scene.past if len(each)]
    return estimate(past, scene.window.scores, scene.window.groups)


def _quality(post: Post, rows: Answered, period: str) -> Evidence:
    """Quality and calibration of the answers with a label; raises NotApplicable where no label tells them apart."""
    _expect_binary(post)
    some = rows.known()
    if len(np.unique(some.labels)) < 2:
        raise NotApplicable(f"{len(some):,} labels of {len(rows):,} have come, and both classes are needed")
    return measure(subject_of(post, some), PROBES, dataset_digest=digest(some.table), period=period)


def _cost(post: Post, scene: Scene, config: Config) -> Measurement:
    now, judged = (
        each.priced(threshold=post.release.threshold, costs=config.model.costs) for each in (scene.window, scene.judged)
    )
    days = max((_end(scene.window) - scene.since) / timedelta(days=1), 1.0)
    return expected_loss(now, judged, rows_a_month=len(scene.window) / days * MONTH_DAYS)


def _changes(now: Evidence, before: Evidence) -> Iterator[Measurement]:
    """Quality less what it was on the period of the judge: other groups, so that the variances add up."""
    for name in CHANGES:
        one, two = now.find(name), before.find(name)
        if one is None or two is None or None in (one.se, two.se, one.dof, two.dof):
            continue
        found = Estimate(
            value=one.value - two.value,
            se=math.hypot(one.se or 0, two.se or 0),
            dof=min(one.dof or 0, two.dof or 0),
            method=f"difference of two periods, each a {one.method}",
        )
        sample = Sample(n_rows=one.n_rows + two.n_rows, n_groups=one.n_groups + two.n_groups, bounds=CHANGE)
        yield interval(f"{name}.change", found, sample)


def _expect_binary(post: Post) -> None:
    if post.release.variant.task != "binary":
        raise NotApplicable(f"it is defined for the task 'binary', not for {post.release.variant.task!r}")


def _end(rows: Answered) -> datetime:
    """Just after the last row."""
    last: datetime = rows.times[-1].astype("datetime64[us]").item()
    return last + timedelta(microseconds=1)


def _named(rows: Answered, since: datetime, every: str) -> Answered:
    return rows.between(since, datetime.max, name=f"{since:%Y-%m}" if every == "1mo" else f"{since:%Y-%m-%d}")
