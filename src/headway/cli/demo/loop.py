"""The second half of the demo: what happens to a release once it is live."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser

import polars as pl

from headway import pipeline
from headway.cli.demo import canary, road
from headway.cli.demo.told import StageReporter
from headway.core.dataset import Dataset
from headway.core.rollout import Plan, Stage
from headway.data.split import labeled_rows, split_dataset
from headway.monitoring import rollout as control
from headway.monitoring.rollout import follow_rollout
from headway.registry.project import Project
from headway.reporting.story import Stamp

FEED = Plan(stages=(Stage(share=0.2),))
KNOWN_BY = datetime(2013, 10, 1)
CHANGED = datetime(2013, 11, 1)


def roll_back_broken_feed(project: Project, live: Dataset, told: StageReporter) -> None:
    """A sound release takes a share of October, its feed breaks, and the judge takes it back."""
    names = _inputs(project)
    utc = split_dataset(road.with_utc_times(live), project.config.split)["live"]
    right, wrong = (_flights(period, 10).select(names) for period in (live, utc))
    canary.fill_feed(project, right, wrong)
    digest = canary.release_with_feed(project, who=getuser())
    control.start_rollout(project, digest, plan=FEED, who=getuser(), why="reads the schedule from a feed")
    flown = canary.run_rollout(
        project,
        right,
        lambda wait: follow_rollout(project, callback=told.callback, wait=wait),
        broken_at=canary.SOUND_REQUESTS,
    )
    note = f"After {canary.SOUND_REQUESTS:,} requests its feed began to send its times in UTC."
    _stamp(project, flown.rollout.salt, at="2013-10", note=note)
    told.callback(canary.describe_rollback(flown))


def report_windows(project: Project, told: StageReporter, *, since: str = "", until: datetime | None = None) -> None:
    """The months of the live release from `since` on, as their labels came: drift, quality, and tickets opened."""
    for seen in pipeline.watch(project, until=until):
        if seen.period >= since:
            told.callback(seen.message)


def retrain_and_roll_out(project: Project, live: Dataset, told: StageReporter) -> None:
    """Train anew on what was labelled by October, judge it against live, and let it earn its place as a canary."""
    found = pipeline.retrain(project, until=KNOWN_BY, callback=told.callback)
    told.callback(found.message)
    _stamp(project, found.key, at="2013-10")
    begun = pipeline.renew(project, found, who=getuser())
    if begun.rollout is None:
        return
    told.callback(begun.message)
    rollout, november = begun.rollout, _flights(live, 11).select(_inputs(project))
    flown = canary.run_rollout(
        project, november, lambda wait: pipeline.follow(project, callback=told.callback, wait=wait).rollout or rollout
    )
    _stamp(project, flown.rollout.salt, at="2013-11")
    told.callback(
        f"It took half of the callers beside the live one for {flown.requests:,} requests; {flown.callers.said}. "
        f"{flown.rollout.why}"
    )


def _stamp(project: Project, of: str, *, at: str, note: str = "") -> None:
    """Keep when something happened by the time of the flights: the clock says when the demo ran."""
    project.save(Stamp(name=project.name, of=of, at=at, note=note))


def _inputs(project: Project) -> list[str]:
    return list(project.register.resolve(f"{project.name}@live").release.variant.signature.names)


def _flights(period: Dataset, month: int) -> pl.DataFrame:
    return labeled_rows(road.select_month(period, month)).table.sort("departs_at", maintain_order=True)
