"""The second half of the demo: what happens to a release once it is live."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

import polars as pl

from headway.core.dataset import Dataset
from headway.core.frontier import Frontier
from headway.data.split import cut, labelled
from headway.face.demo import canary, road
from headway.face.demo.replay import server
from headway.face.demo.told import Told
from headway.face.report.story import Moment
from headway.release.project import Project


def taken_back(project: Project, frontier: Frontier, live: Dataset, told: Told) -> tuple[Moment, ...]:
    """A sound release takes a share of October, its feed breaks, and the judge takes it back."""
    names = list(frontier.baseline.model.signature.names)
    utc = cut(road.wrong(live), project.config.split)["live"]
    right, wrong = (_october(period).select(names) for period in (live, utc))
    canary.fill_feed(project, right, wrong)
    digest = canary.release_with_feed(project, who=getuser())
    with server(Path(project.config.folder), f"{project.name}@live") as address:
        flown = canary.fly(project, address, right, digest, who=getuser())
    told.tell(flown.moment.says)
    return (flown.moment,)


def _october(period: Dataset) -> pl.DataFrame:
    return labelled(road.month(period, 10)).table.sort("departs_at", maintain_order=True)
