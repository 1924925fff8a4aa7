"""The second half of the demo: rollouts of a broken and of a retrained release, and monitoring month by month."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway import pipeline
from headway.cli.demo import release
from headway.cli.demo.release import StageReporter
from headway.cli.demo.replay import server
from headway.core.dataset import Dataset
from headway.core.errors import HeadwayError
from headway.core.release import FeatureView
from headway.core.rollout import Plan, Rollout, Stage
from headway.data.split import labeled_rows, split_dataset
from headway.features.online import OnlineTable
from headway.monitoring import rollout as control
from headway.monitoring.rollout import follow_rollout
from headway.registry.project import Project
from headway.reporting.report_data import Stamp
from headway.serving.client import Client
from headway.storage import traffic

VIEW = FeatureView(name="schedule", table="schedule_feed", columns=("dep_minute", "arr_minute", "weekday"))
SOUND_REQUESTS = 1_500
AFTER_REQUESTS = 500
MOST_REQUESTS = 8_000
LOOK_EVERY = 25
Wait = Callable[[float], object]


class Callers:
    """Send flights one by one over HTTP, each from its own caller, while a rollout runs."""

    def __init__(self, project: Project, client: Client, table: pl.DataFrame, *, broken_at: int) -> None:
        self.sent = self.failed = 0
        self.broken_at, self.broke = broken_at, time.monotonic()
        self._project, self._client = project, client
        self._columns = {name: table[name].to_list() for name in table.columns}
        self._keys = keys_of(table)

    @property
    def said(self) -> str:
        """How many requests failed, in words."""
        return f"{self.failed} of {self.sent:,} requests failed"

    def come(self, _: float) -> None:
        """Send the flights between two decisions; after the last flight, end the rollout."""
        if self.sent < MOST_REQUESTS:
            self.ask(LOOK_EVERY)
        else:
            control.roll_back(self._project, who="the demo", why="no flight is left, and it is still undecided")

    def ask(self, count: int) -> None:
        """Send the next flights."""
        for row in range(self.sent, self.sent + count):
            if row == self.broken_at:
                self.broke = time.monotonic()
            self.sent += 1
            try:
                rows = {name: values[row : row + 1] for name, values in self._columns.items()}
                self._client.infer(self._project.name, rows, key=self._keys[row])
            except HeadwayError:
                self.failed += 1


class RolloutRun(NamedTuple):
    """The end of a rollout: number of requests, and seconds since its feed broke."""

    rollout: Rollout
    callers: Callers
    requests: int
    seconds: float


def describe_rollback(flown: RolloutRun) -> str:
    """Describe the rollback in a sentence."""
    callers, rollout = flown.callers, flown.rollout
    back = rollout.status == "rolled back" and flown.requests < MOST_REQUESTS
    return (
        f"A new release looked its schedule up in a feed and took {rollout.current.share:.0%} of the callers. After "
        f"{callers.broken_at:,} requests the feed began to send its times in UTC. "
        f"{flown.requests - callers.broken_at:,} requests and {flown.seconds:.1f} s later "
        f"({rollout.of_release:,} requests of the new release in all) it was "
        f"{'taken back by itself' if back else 'still there'}; {callers.said}. The judge: {rollout.why}"
    )


def release_with_feed(project: Project, *, who: str) -> str:
    """Publish the released variant again, with its schedule read from a feed."""
    bundle = project.registry.resolve(f"{project.name}@live")
    return project.registry.publish(replace(bundle.release, views=(VIEW,), made_by=who), bundle.files)


def fill_feed(project: Project, table: pl.DataFrame, wrong: pl.DataFrame) -> None:
    """Fill the feed: correct for the first flights, in UTC after `SOUND_REQUESTS`."""
    right = pl.concat([table.head(SOUND_REQUESTS), wrong.slice(SOUND_REQUESTS)])
    values = right.select(VIEW.columns).cast(pl.Float64).to_numpy()
    feed = OnlineTable(traffic.online_folder(project.config.state), VIEW.table)
    feed.put(keys_of(table), np.ascontiguousarray(values), np.full(len(table), time.time_ns() // 1000))
    feed.close()


def keys_of(table: pl.DataFrame) -> list[str]:
    """Return a key per flight, shared by callers and feed."""
    return [f"flight-{number}" for number in range(len(table))]


def run_rollout(
    project: Project, table: pl.DataFrame, follow: Callable[[Wait], Rollout], *, broken_at: int = 0
) -> RolloutRun:
    """Follow the running rollout to its end, with flights between decisions and some after it."""
    with server(Path(project.config.folder), f"{project.name}@live") as address, Client(address) as client:
        callers = Callers(project, client, table, broken_at=broken_at)
        ended = follow(callers.come)
        flown = RolloutRun(ended, callers, requests=callers.sent, seconds=time.monotonic() - callers.broke)
        callers.ask(AFTER_REQUESTS)
    return flown


FEED = Plan(stages=(Stage(share=0.2),))
KNOWN_BY = datetime(2013, 10, 1)
CHANGED = datetime(2013, 11, 1)


def roll_back_broken_feed(project: Project, live: Dataset, reporter: StageReporter) -> None:
    """Roll out a sound release in October, break its feed, and let the judge roll it back."""
    names = _inputs(project)
    utc = split_dataset(release.with_utc_times(live), project.config.split)["live"]
    right, wrong = (_flights(period, 10).select(names) for period in (live, utc))
    fill_feed(project, right, wrong)
    digest = release_with_feed(project, who=getuser())
    control.start_rollout(project, digest, plan=FEED, who=getuser(), why="reads the schedule from a feed")
    flown = run_rollout(
        project,
        right,
        lambda wait: follow_rollout(project, callback=reporter.show, wait=wait),
        broken_at=SOUND_REQUESTS,
    )
    note = f"After {SOUND_REQUESTS:,} requests its feed began to send its times in UTC."
    _stamp(project, flown.rollout.salt, at="2013-10", note=note)
    reporter.show(describe_rollback(flown))


def report_windows(
    project: Project, reporter: StageReporter, *, since: str = "", until: datetime | None = None
) -> None:
    """Report on the live release month by month from `since`, as its labels arrived: drift, quality and tickets."""
    for seen in pipeline.watch(project, until=until):
        if seen.period >= since:
            reporter.show(seen.message)


def retrain_and_roll_out(project: Project, live: Dataset, reporter: StageReporter) -> None:
    """Retrain on what was labelled by October, judge it against live, and promote it through a canary rollout."""
    found = pipeline.retrain(project, until=KNOWN_BY, callback=reporter.show)
    reporter.show(found.message)
    _stamp(project, found.key, at="2013-10")
    begun = pipeline.promote(project, found, who=getuser())
    if begun.rollout is None:
        return
    reporter.show(begun.message)
    rollout, november = begun.rollout, _flights(live, 11).select(_inputs(project))
    flown = run_rollout(
        project,
        november,
        lambda wait: pipeline.follow_promotion(project, callback=reporter.show, wait=wait).rollout or rollout,
    )
    _stamp(project, flown.rollout.salt, at="2013-11")
    reporter.show(
        f"It took half of the callers beside the live one for {flown.requests:,} requests; {flown.callers.said}. "
        f"{flown.rollout.why}"
    )


def _stamp(project: Project, of: str, *, at: str, note: str = "") -> None:
    """Store when something happened in the time of the flights; the clock shows when the demo ran."""
    project.save(Stamp(name=project.name, of=of, at=at, note=note))


def _inputs(project: Project) -> list[str]:
    return list(project.registry.resolve(f"{project.name}@live").release.variant.signature.names)


def _flights(period: Dataset, month: int) -> pl.DataFrame:
    return labeled_rows(release.select_month(period, month)).table.sort("departs_at", maintain_order=True)
