"""The demo: the main job of headway from end to end on real flights, told as it goes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import polars as pl
from rich.console import Console

from headway import flow
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence, Finding
from headway.core.frontier import Baseline, Frontier
from headway.core.variant import Step
from headway.core.verdict import Judged
from headway.data.open import dataset_of
from headway.data.split import cut, labelled
from headway.evidence.measure import this_machine
from headway.evidence.subject import exam_of, subject_of
from headway.face import tables
from headway.face.demo import flights
from headway.face.demo.replay import replay, server
from headway.face.output import console
from headway.face.report.page import write
from headway.face.report.story import Replay, Span, Stage, Story, Wrong
from headway.release.project import Project, open_project

FILES = ("headway.toml", "flights.py", "train.py")
HERE = Path(__file__).parent
LEAD = (
    "A model learned from January to April of 2013. headway looked for a faster form of it, proved on days that the "
    "model had not seen that nothing was lost, signed it, served it, and sent a month of flights to the server.",
)


class Told:
    """Stages with their times, said as they begin and end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """A stage of the demo: its title when it begins, its seconds when it ends."""
        self.console.rule(f"{len(self.stages) + 1}. {title}", align="left")
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.stages.append(Stage(name=title, seconds=seconds))
        self.console.print(f"{seconds:.1f} s")

    def tell(self, text: str) -> None:
        """A line of progress."""
        self.console.print(text)


def run(folder: Path) -> Path:
    """Run the demo in a folder; returns the path of the report, which is also the last line printed."""
    told = Told(console())
    project = _project(folder)
    with told.stage("Load 336,776 flights, their planes, and the weather known two hours before"):
        data = flow.periods(project)
    with told.stage("Check the data, and refuse to learn from what only the outcome tells"):
        findings = _check(project, data, told)
    with told.stage("Train on January to April"):
        baseline = flow.train(project, data)
    with told.stage("Search faster variants; judge each on May and June, the winner once on July and August"):
        frontier = flow.optimize(project, baseline, data, tell=told.tell)
        told.console.print(tables.brief_table(frontier, groups="days"))
        told.console.print(tables.rulings_table(frontier.winner.verdict, groups="days"))
    with told.stage("Release the winner, signed"):
        shipped = flow.release(project, frontier, who=getuser())
        told.console.print(tables.shipped_lines(shipped.move, shipped.enrolment.created))
    with told.stage("Refuse a variant that is wrong on purpose: scheduled times taken in UTC"):
        refused = _refused(project, baseline, data["test"])
        told.console.print(tables.rulings_table(refused.verdict, groups="days"))
    with told.stage("Serve the release in a process of its own, and replay September over HTTP"):
        replayed = _replayed(project, frontier, data["live"])
        told.console.print(tables.replay_lines(replayed))
    with told.stage("Measure the year, month by month"):
        months = _months(project, frontier, data)
    story = Story(
        title="Will a flight from New York arrive more than 15 minutes late?",
        lead=LEAD,
        groups="days",
        findings=tuple(findings),
        frontier=frontier.judged,
        reasons=frontier.reasons,
        refusals=frontier.refusals,
        slice_rows=project.config.policy.slice_rows,
        slice_groups=project.config.policy.slice_groups,
        winner=frontier.winner,
        as_it_came=_as_it_came(project, frontier, data["test"]),
        refused=Wrong(title="Scheduled times taken in UTC", judged=refused),
        months=months,
        spans=_spans(project),
        replay=replayed,
        release=shipped.move.release,
        key=shipped.enrolment.key,
        stages=tuple(told.stages),
        machine=this_machine(),
    )
    told.console.print(tables.summary_table(story))
    path = write(story, folder / "report.html")
    told.tell(str(path.resolve()))
    return path


def _project(folder: Path) -> Project:
    """The demo's project, its files laid anew; what an earlier run left in the store stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    return open_project(folder)


def _check(project: Project, data: flow.Data, told: Told) -> list[Finding]:
    whole = dataset_of(pl.concat([period.table for period in data.values()]), data["train"].roles, name="flights")
    findings = flow.check(whole)
    told.console.print(tables.findings_table(findings))
    try:
        flow.train(project, data, features=[*data["train"].table.columns])
    except DataError as refusal:
        told.tell(str(refusal))
    return findings


def _refused(project: Project, baseline: Baseline, test: Dataset) -> Judged:
    """The model as it came, reading a feature view whose scheduled times are in UTC, judged on the test period."""
    wrong = dataset_of(flights.load_utc(), test.roles, name="flights:load_utc")
    view = cut(wrong, project.config.split)["test"]
    step = Step(transform="view", settings={"source": "flights:load_utc"})
    variant = baseline.model.with_step(step)
    return flow.evaluate(project, variant, exam_of(baseline, test, project.blobs), view=view)


def _replayed(project: Project, frontier: Frontier, live: Dataset) -> Replay:
    september = labelled(_month(live, 9))
    exam = exam_of(frontier.baseline, september, project.blobs)
    subject = subject_of(frontier.winner.variant, exam, project.blobs)
    with server(Path(project.config.folder), f"{project.name}@live") as address:
        return replay(address, project.name, september.table, subject)


def _month(dataset: Dataset, month: int) -> Dataset:
    rows = dataset.table.filter(pl.col("departs_at").dt.month() == month)
    return Dataset(name=f"2013-{month:02}", table=rows, roles=dataset.roles, digest=dataset.digest)


def _months(project: Project, frontier: Frontier, data: flow.Data) -> tuple[Evidence, ...]:
    found = []
    for period in data.values():
        for month in sorted(period.table["departs_at"].dt.month().unique()):
            exam = exam_of(frontier.baseline, _month(period, month), project.blobs)
            for variant in (frontier.winner.variant, frontier.baseline.model):
                found.append(flow.evaluate(project, variant, exam).evidence)
    return tuple(found)


def _as_it_came(project: Project, frontier: Frontier, test: Dataset) -> Evidence:
    exam = exam_of(frontier.baseline, test, project.blobs)
    return flow.evaluate(project, frontier.baseline.model, exam).evidence


def _spans(project: Project) -> tuple[Span, ...]:
    split = project.config.split
    named = {"train": split.train, "choose": split.choose, "test": split.test, "live": split.live}
    return tuple(Span(name=name, first=dates[0], until=dates[1]) for name, dates in named.items())
