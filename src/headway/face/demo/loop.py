"""The second half of the demo: what happens to a release once it is live."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from pathlib import Path

import polars as pl

from headway import flow
from headway.core.dataset import Dataset
from headway.core.training import Retraining
from headway.core.watch import Watch
from headway.data.split import cut, labelled
from headway.face.demo import canary, road
from headway.face.demo.replay import server
from headway.face.demo.told import Told
from headway.face.report.story import Moment
from headway.release.project import Project
from headway.release.ship import publish

KNOWN_BY = datetime(2013, 10, 1)
CHANGED = datetime(2013, 11, 1)


def broken_feed(project: Project, live: Dataset, told: Told) -> Moment:
    """A sound release takes a share of October, its feed breaks, and the judge takes it back."""
    names = _inputs(project)
    utc = cut(road.wrong(live), project.config.split)["live"]
    right, wrong = (_flights(period, 10).select(names) for period in (live, utc))
    canary.fill_feed(project, right, wrong)
    digest = canary.release_with_feed(project, who=getuser())
    offer = canary.Offer(
        digest=digest,
        share=0.2,
        why="reads the schedule from a feed",
        who=getuser(),
        broken_at=canary.SOUND_REQUESTS,
    )
    moment = canary.taken_back(_flown(project, right, offer))
    told.tell(moment.says)
    return moment


def watched(project: Project, told: Told, *, since: str = "", until: datetime | None = None) -> tuple[Moment, ...]:
    """The months of the live release from `since` on, as their labels came: drift, quality, and tickets opened."""
    seen = [each for each in flow.watch(project, until=until) if each.period >= since]
    for each in seen:
        told.tell(each.says)
    return tuple(_moment(each) for each in seen)


def retrained(project: Project, live: Dataset, told: Told) -> tuple[Moment, ...]:
    """Train anew on what was labelled by October, judge it against live, and let it earn its place as a canary."""
    found = flow.retrain(project, until=KNOWN_BY, tell=told.tell)
    told.tell(found.says)
    if found.frontier.winner.verdict.answer != "pass":
        return (_trained(found),)
    digest, _ = publish(project, found.frontier, who=getuser())
    offer = canary.Offer(digest=digest, share=0.5, why=found.says, who=getuser())
    flown = _flown(project, _flights(live, 11).select(_inputs(project)), offer)
    promoted = flown.standing == "promoted"
    says = (
        f"It took half of the callers beside the live one for {flown.ended_at:,} requests; {flown.failed}. {flown.says}"
    )
    told.tell(says)
    what = "The retrained model is live" if promoted else f"The retrained model: {flown.standing}"
    live_now = Moment(at="2013-11", what=what, says=says, mood="pass" if promoted and not flown.failures else "note")
    return (_trained(found), live_now)


def _flown(project: Project, table: pl.DataFrame, offer: canary.Offer) -> canary.Flown:
    with server(Path(project.config.folder), f"{project.name}@live") as address:
        return canary.fly(project, address, table, offer)


def _inputs(project: Project) -> list[str]:
    return list(project.register.resolve(f"{project.name}@live").release.variant.signature.names)


def _flights(period: Dataset, month: int) -> pl.DataFrame:
    return labelled(road.month(period, month)).table.sort("departs_at", maintain_order=True)


def _moment(seen: Watch) -> Moment:
    what = {"worse": "Worse than when it was released", "moved": "The inputs moved"}.get(seen.outlook, seen.outlook)
    says = f"{seen.says} Ticket: {seen.ticket.why}" if seen.ticket else seen.says
    return Moment(at=seen.period, what=what.capitalize(), says=says, mood="fail" if seen.outlook == "worse" else "note")


def _trained(found: Retraining) -> Moment:
    passed = found.frontier.winner.verdict.answer == "pass"
    return Moment(at="2013-10", what="Trained anew", says=found.says, mood="pass" if passed else "note")
