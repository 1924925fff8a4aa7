"""The first half of the demo: from the flights to a release that is served, each stage a part of the story."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

import polars as pl

from headway import pipeline
from headway.cli.demo import flights
from headway.cli.demo.replay import replay, server
from headway.cli.demo.told import StageReporter
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence, Finding
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Step
from headway.data.open import make_dataset
from headway.data.split import labeled_rows, split_dataset
from headway.evaluation.subject import exam_of, subject_of
from headway.registry.project import Project
from headway.reporting.read_data_use import read_data_use
from headway.reporting.story import RefusedVariant, Replay, ReportData, SplitPeriod
from headway.reporting.text import tables

LEAD = (
    "A model learned from January to April of 2013. headway looked for a faster form of it, proved on days that the "
    "model had not seen that nothing was lost, signed it, served it, and sent a month of flights to the server.",
)


def train_and_release(project: Project, data: pipeline.Data, told: StageReporter) -> tuple[SearchResult, ReportData]:
    """Check, train, optimize, judge and release; gives the frontier, and the story so far."""
    with told.stage("Check the data, and refuse to learn from what only the outcome tells"):
        findings = _check(project, data, told)
    with told.stage("Train on January to April"):
        baseline = pipeline.train(project, data)
    with told.stage("Search faster variants; judge each on May and June, the winner once on July and August"):
        frontier = pipeline.optimize(project, baseline, data, callback=told.callback)
        told.callback(tables.render_search_briefly(frontier, groups="days"))
        told.callback(tables.render_rules(frontier.winner.verdict, groups="days"))
    with told.stage("Release the winner, signed"):
        shipped = pipeline.release(project, frontier, who=getuser())
        told.callback(tables.render_release(shipped.move, shipped.enrolment.created))
    policy = project.config.policy
    return frontier, ReportData(
        title="Will a flight from New York arrive more than 15 minutes late?",
        lead=LEAD,
        groups="days",
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        findings=tuple(findings),
        frontier=frontier.judged,
        left=frontier.left,
        reasons=frontier.reasons,
        refusals=frontier.refusals,
        winner=frontier.winner,
        as_it_came=_as_it_came(project, frontier, data["test"]),
        spans=_spans(project),
        data_use=read_data_use(project, frontier.winner.variant.signature.names),
        data=frontier.baseline.data,
        release=shipped.move.release,
        key=shipped.enrolment.key,
    )


def judge_wrong_times(project: Project, baseline: Baseline, test: Dataset) -> RefusedVariant:
    """The model as it came, reading a feature view whose scheduled times are in UTC, judged on the test period."""
    view = split_dataset(with_utc_times(test), project.config.split)["test"]
    variant = baseline.model.with_step(Step(transform="view", settings={"source": "flights:load_utc"}))
    judged = pipeline.evaluate(project, variant, exam_of(baseline, test, project.blobs), view=view)
    return RefusedVariant(title="Scheduled times taken in UTC", judged=judged)


def replay_september(project: Project, frontier: SearchResult, live: Dataset) -> Replay:
    """September, flight by flight over HTTP, to a server in a process of its own."""
    september = labeled_rows(select_month(live, 9))
    subject = subject_of(frontier.winner.variant, exam_of(frontier.baseline, september, project.blobs), project.blobs)
    with server(Path(project.config.folder), f"{project.name}@live") as address:
        return replay(address, project.name, september.table, subject)


def evaluate_months(project: Project, frontier: SearchResult, data: pipeline.Data) -> tuple[Evidence, ...]:
    """Evidence on the released variant and on the model as it came, for each month of the year."""
    found = []
    for period in data.values():
        for number in sorted(period.table["departs_at"].dt.month().unique()):
            exam = exam_of(frontier.baseline, select_month(period, number), project.blobs)
            for variant in (frontier.winner.variant, frontier.baseline.model):
                found.append(pipeline.evaluate(project, variant, exam).evidence)
    return tuple(found)


def with_utc_times(right: Dataset) -> Dataset:
    """The same flights with the scheduled times taken in UTC."""
    return make_dataset(flights.load_utc(), right.roles, name="flights:load_utc")


def select_month(dataset: Dataset, number: int) -> Dataset:
    """The flights of one month of a dataset, named after it."""
    rows = dataset.table.filter(pl.col("departs_at").dt.month() == number)
    return Dataset(name=f"2013-{number:02}", table=rows, roles=dataset.roles, digest=dataset.digest)


def _check(project: Project, data: pipeline.Data, told: StageReporter) -> list[Finding]:
    """Findings on the whole table, and the refusal of a training that would read all of its columns."""
    whole = make_dataset(pl.concat([period.table for period in data.values()]), data["train"].roles, name="flights")
    findings = pipeline.assess(project, whole, who=getuser()).now.findings
    told.callback(tables.render_findings(findings))
    try:
        pipeline.train(project, data, features=[*data["train"].table.columns])
    except DataError as refusal:
        told.callback(str(refusal))
    return list(findings)


def _as_it_came(project: Project, frontier: SearchResult, test: Dataset) -> Evidence:
    exam = exam_of(frontier.baseline, test, project.blobs)
    return pipeline.evaluate(project, frontier.baseline.model, exam).evidence


def _spans(project: Project) -> tuple[SplitPeriod, ...]:
    split = project.config.split
    named = {"train": split.train, "choose": split.choose, "test": split.test, "live": split.live}
    return tuple(SplitPeriod(name=name, first=dates[0], until=dates[1]) for name, dates in named.items())
