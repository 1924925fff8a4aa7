"""A live release over one period: did the inputs move, is it still right, what does it cost, and what to do.

O002: a part of a watch could not judge this period, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.contracts import Windows
from headway.core.drift import Drift
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.plugins import load_detector
from headway.core.record import digest_of, write
from headway.core.ticket import Ticket
from headway.core.watch import Reply, RowSource, Watch
from headway.data.provenance.digest import table_digest
from headway.evaluation.measure import measure
from headway.evaluation.statistics.intervals import CHANGE, Estimate, Sample, interval
from headway.evaluation.statistics.tables import Floats
from headway.monitoring import outlook
from headway.monitoring.answered import Answered, subject_of
from headway.monitoring.budget import Budget, Period
from headway.monitoring.drift.rank import rank
from headway.monitoring.harm import PROBABILITIES, expect_of_live, harm, ruled, split_ece
from headway.monitoring.no_labels import estimate
from headway.monitoring.post import Post
from headway.monitoring.price import decisions, expected_loss
from headway.monitoring.scenes import Scene, end_of
from headway.monitoring.served import keyless
from headway.monitoring.trigger import Situation, propose

CODE = "O002"
DETECTOR = "group_permutation"
PROBES = ("quality", "calibration")
MEASURES = ("roc_auc", "brier", "ece", PROBABILITIES, "base_rate")
CHANGES = ("roc_auc", "brier", "ece")
MONTH_DAYS = 365.25 / 12
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A watch, with the evidence behind it where labels had come; `news` says that a question was answered just now."""

    watch: Watch
    evidence: Evidence | None = None
    news: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: the release at its post, the project's settings, and what the year's budget has left."""

    post: Post
    config: Config
    budget: Budget
    source: RowSource = "table"

    def period(self, scene: Scene) -> Period:
        """The period of a scene, as the budget knows it."""
        return scene.period(self.post.digest, self.source)


def watch(asker: Asker, scene: Scene, *, pending: Ticket | None = None) -> Seen:
    """What a period shows of a release, and a ticket to train anew where the policy asks for one and none is pending.

    Each question is put once, when the period is over: to its inputs, and to its quality once its labels have had their
    time and 20 groups are known. What was answered before is told again as it was. No ticket is opened before labels
    of the period have come.
    """
    expect_of_live(asker.config.policy)
    told = asker.budget.last(asker.period(scene))
    if told and told.reply("harm"):
        return Seen(watch=_judged(asker, scene, told, pending), news=False)
    parts = _Parts(scene)
    found, evidence = _measured(asker, scene, parts, told)
    seen = _judged(asker, scene, replace(found, unknown=tuple(parts.unknown)), pending)
    return Seen(watch=seen, evidence=evidence, news=scene.over and (told is None or told.replies != seen.replies))


def _measured(asker: Asker, scene: Scene, parts: _Parts, told: Watch | None) -> tuple[Watch, Evidence | None]:
    """All parts of a watch but what they mean; its drift is taken from where it was `told` before."""
    post, window = asker.post, scene.window
    inputs = told.reply("drift") if told else None
    drift = told.drift if told and inputs else parts.ask("drift", lambda: _drift(asker, scene))
    if drift and not inputs:
        level = asker.budget.level("drift", asker.period(scene))
        inputs = Reply(question="drift", level=level, shown=("drift.p",) if drift.alarm else ())
    harms = parts.ask("rank", lambda: _harms(asker, scene)) if drift and drift.alarm else None
    estimated = parts.ask("estimate without labels", lambda: _estimated(post, scene))
    now = parts.ask(outlook.QUALITY, lambda: _quality(post, window, scene.name))
    before = parts.ask("quality when judged", lambda: _quality(post, scene.judged, "judged")) if now else None
    found = Watch(
        name=post.release.name,
        release=post.digest,
        period=scene.name,
        since=scene.since.isoformat(),
        until=scene.until.isoformat(),
        n_rows=len(window),
        n_labelled=len(window.known()),
        outlook="unknown",
        message="",
        drift=drift,
        harms=tuple(harms or ()),
        quality=tuple(each for each in now.measurements if each.name in MEASURES) if now else (),
        change=tuple(_changes(now, before)) if now and before else (),
        cost=parts.ask("cost", lambda: _cost(asker, scene)) if now else None,
        estimated=tuple(estimated or ()),
        evidence=digest_of(write(now)) if now else "",
        at=scene.at.isoformat(),
        source=asker.source,
        over=scene.over,
        n_keyless=keyless(window) if asker.source == "log" else 0,
    )
    asked = replace(found, replies=(inputs,) if inputs else ())
    return (_replied(asker, scene, asked, now) if now else asked), now


def _replied(asker: Asker, scene: Scene, found: Watch, now: Evidence) -> Watch:
    """The watch with the question of harm answered, if labels have had their time and are enough to answer it."""
    change = found.find("roc_auc.change")
    if not scene.due or change is None or change.se is None:
        return found
    level = asker.budget.level("harm", asker.period(scene))
    found = replace(found, rulings=ruled(found, now, asker.config.policy, level=level))
    reply = harm(found, level=level, ece_at_most=asker.config.retrain.ece_at_most)
    return replace(found, replies=(*found.replies, reply))


def _judged(asker: Asker, scene: Scene, found: Watch, pending: Ticket | None) -> Watch:
    """The watch with its outlook, the sentence, and a ticket if the policy opens one."""
    config, reply = asker.config, found.reply("harm")
    seen = replace(found, outlook=outlook.of(found), ticket=None)
    situation = Situation(
        name=found.name,
        release=found.release,
        rows_trained=asker.post.training.n_rows,
        rows_labelled=scene.n_known,
        calibration=found.find("ece"),
        off=bool(reply and PROBABILITIES in reply.shown),
        expected_loss=found.cost,
        price_s=asker.post.training.seconds * config.retrain.seeds,
        evidence=(found.evidence,) if found.evidence else (),
        at=found.at,
    )
    ticket = propose(situation, config.retrain, pending=pending) if found.n_labelled else None
    seen = replace(seen, ticket=ticket)
    opened = pending is not None and pending.at <= found.at
    return replace(seen, message=outlook.sentence(seen, config.retrain, pending=opened))


class _Parts:
    """Parts of a watch, asked one by one; what cannot judge leaves a finding that says so."""

    def __init__(self, scene: Scene) -> None:
        self.where = scene.name
        self.unknown: list[Finding] = []

    def ask(self, part: str, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except (NotApplicable, DataError) as reason:
            message = f"{part} cannot be said: {reason.what}"
            self.unknown.append(
                Finding(
                    code=CODE, severity="undecided", message=message, where=reason.where or self.where, hint=reason.hint
                )
            )
            return None


def _drift(asker: Asker, scene: Scene) -> Drift:
    if not scene.over:
        raise NotApplicable("the period is not over, and each is judged once", hint="wait for its end")
    level = asker.budget.level("drift", asker.period(scene))
    return load_detector(DETECTOR)(changed(_windows(asker.post, scene), alpha=level))


def _windows(post: Post, scene: Scene) -> Windows:
    return Windows(
        before=scene.judged.window(),
        after=scene.window.window(),
        signature=post.release.variant.signature,
        run=scene.window.run,
    )


def _harms(asker: Asker, scene: Scene) -> list[Measurement]:
    """What the drift of each feature is estimated to cost a row, in the unit of `[model] costs`."""
    _expect_binary(asker.post)
    lost = _costs(asker, scene.judged)
    return [replace(each, unit="cost a row") for each in rank(_windows(asker.post, scene), lost)]


def _costs(asker: Asker, rows: Answered) -> Floats:
    threshold, costs = asker.post.release.threshold, asker.config.model.costs
    return decisions(rows.scores, rows.labels, threshold=threshold, costs=costs)


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
    subject = subject_of(post, some)
    found = measure(subject, PROBES, dataset_digest=table_digest(some.table), period=period)
    return replace(found, measurements=(*found.measurements, split_ece(subject, run=some.run)))


def _cost(asker: Asker, scene: Scene) -> Measurement:
    threshold, costs = asker.post.release.threshold, asker.config.model.costs
    window = scene.window
    now, judged = (each.priced(threshold=threshold, costs=costs) for each in (window, scene.judged))
    days = max((end_of(window) - scene.since) / timedelta(days=1), 1.0)
    return expected_loss(now, judged, rows_a_month=len(window) / days * MONTH_DAYS)


def _changes(now: Evidence, before: Evidence) -> Iterator[Measurement]:
    """Quality less what it was on the period of the judge: other groups, so that the variances add up."""
    judged = {each.name: each for each in before.measurements if not each.slice}
    for one in (each for each in now.measurements if each.name in CHANGES and not each.slice):
        two = judged[one.name]
        errors = [each.se for each in (one, two) if each.se is not None]
        found = Estimate(
            value=one.value - two.value,
            se=math.hypot(*errors) if len(errors) == 2 else math.inf,
            dof=min(one.dof or 0, two.dof or 0),
            method=f"difference of two periods, each a {one.method}",
        )
        sample = Sample(n_rows=one.n_rows + two.n_rows, n_groups=one.n_groups + two.n_groups, bounds=CHANGE)
        yield interval(f"{one.name}.change", found, sample)


def _expect_binary(post: Post) -> None:
    if post.release.variant.task != "binary":
        raise NotApplicable(f"it is defined for the task 'binary', not for {post.release.variant.task!r}")
