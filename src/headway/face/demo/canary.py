"""A sound release whose feature view breaks at serving: it takes a share of traffic, and is taken back by itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.errors import HeadwayError
from headway.core.release import View
from headway.core.rollout import Plan, Rollout, Stage
from headway.face.report.story import Moment
from headway.features.online import OnlineTable
from headway.observe.rollout import rolling
from headway.release.project import Project
from headway.serve.client import Client
from headway.store import traffic

VIEW = View(name="schedule", table="schedule_feed", columns=("dep_minute", "arr_minute", "weekday"))
SOUND_REQUESTS = 1_500
AFTER_REQUESTS = 500
MOST_REQUESTS = 8_000
LOOK_EVERY = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A release that is given a share of the callers, and after how many requests its feed breaks (0: never)."""

    digest: str
    share: float
    why: str
    who: str
    broken_at: int = 0


@dataclass(slots=True)
class Flown:
    """What was sent while a rollout ran, and how it ended."""

    offer: Offer
    requests: int = 0
    failures: int = 0
    ended_at: int = 0
    seconds_to_end: float = 0.0
    says: str = ""
    rollout: Rollout | None = None

    @property
    def standing(self) -> str:
        """How the rollout ended, or `running`."""
        return self.rollout.standing if self.rollout else "running"

    @property
    def failed(self) -> str:
        """How many requests failed, in words."""
        return f"{self.failures} of {self.requests:,} requests failed"


def taken_back(flown: Flown) -> Moment:
    """The rollback in words for whoever must act."""
    back = flown.standing == "rolled back"
    of_release = flown.rollout.of_release if flown.rollout else 0
    says = (
        f"A new release looked its schedule up in a feed and took {flown.offer.share:.0%} of the callers. After "
        f"{flown.offer.broken_at:,} requests the feed began to send its times in UTC. "
        f"{flown.ended_at - flown.offer.broken_at:,} requests and {flown.seconds_to_end:.1f} s later "
        f"({of_release:,} requests of the new release in all) it was "
        f"{'taken back by itself' if back else 'still there'}; {flown.failed}. The judge: {flown.says}"
    )
    what = "A release was taken back" if back else "A release was not taken back"
    return Moment(at="2013-10", what=what, says=says, mood="pass" if back and not flown.failures else "fail")


def release_with_feed(project: Project, *, who: str) -> str:
    """The released variant anew, reading the schedule from a feed: published, and sound as far as anybody can see."""
    bundle = project.register.resolve(f"{project.name}@live")
    return project.register.publish(replace(bundle.release, views=(VIEW,), made_by=who), bundle.files)


def fill_feed(project: Project, table: pl.DataFrame, wrong: pl.DataFrame) -> None:
    """The feed as its pipeline left it: right for the first flights, in UTC for those after `SOUND_REQUESTS`."""
    right = pl.concat([table.head(SOUND_REQUESTS), wrong.slice(SOUND_REQUESTS)])
    values = right.select(VIEW.columns).cast(pl.Float64).to_numpy()
    feed = OnlineTable(traffic.online_folder(project.config.state), VIEW.table)
    feed.put(keys_of(table), np.ascontiguousarray(values), np.full(len(table), time.time_ns() // 1000))
    feed.close()


def keys_of(table: pl.DataFrame) -> list[str]:
    """A key a flight: the callers know it, and so does the feed."""
    return [f"flight-{number}" for number in range(len(table))]


def fly(project: Project, address: str, table: pl.DataFrame, offer: Offer) -> Flown:
    """Start the rollout, send flight after flight over HTTP, and look every few requests until the judge ends it."""
    plan = Plan(stages=(Stage(share=offer.share),))
    started = rolling.start(project, offer.digest, plan=plan, who=offer.who, why=offer.why)
    following, flown, left = rolling.Rolling(project, started), Flown(offer=offer), AFTER_REQUESTS
    columns = {name: table[name].to_list() for name in table.columns}
    broke = 0.0
    with Client(address) as client:
        for row, key in enumerate(keys_of(table)[:MOST_REQUESTS]):
            broke = broke or (time.monotonic() if row >= offer.broken_at else 0.0)
            flown.requests += 1
            try:
                client.infer(project.name, {name: values[row : row + 1] for name, values in columns.items()}, key=key)
            except HeadwayError:
                flown.failures += 1
            if following.rollout.standing == "running" and row % LOOK_EVERY == 0:
                flown.says = following.look().says
                flown.ended_at, flown.seconds_to_end = row + 1, time.monotonic() - broke
            left -= following.rollout.standing != "running"
            if not left:
                break
    flown.rollout = following.rollout
    return flown
