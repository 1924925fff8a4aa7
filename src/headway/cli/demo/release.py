"""The first half of the demo: from the flights to a served release, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import polars as pl
from rich.console import Console, RenderableType

from headway import pipeline
from headway.cli.demo import flights
from headway.cli.demo.replay import replay, server
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence, Finding
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Step
from headway.data.open import make_dataset
from headway.data.split import labeled_rows, split_dataset
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.registry.project import Project
from headway.reporting.read_report_data import read_data_use
from headway.reporting.report_data import RefusedVariant, Replay, ReportData, SplitPeriod, Stage
from headway.reporting.text import terminal


class StageReporter:
    """Print the progress of a run and record how long each stage took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.stages: list[Stage] = []

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print the title of a stage when it begins and its seconds when it ends."""
        self._console.rule(f"{len(self.stages) + 1}. {title}", align="left")
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.stages.append(Stage(name=title, seconds=seconds))
        self._console.print(f"{seconds:.1f} s")

    def show(self, what: RenderableType) -> None:
        """Print a line of progress or a table."""
        self._console.print(what)


LEAD = (
    "A model learned from January to April of 2013. headway looked for a faster form of it, proved on days that the "
    "model had not seen that nothing was lost, signed it, served it, and sent a month of flights to the server.",
)


def train_and_release(
    project: Project, data: pipeline.Data, reporter: StageReporter
) -> tuple[SearchResult, ReportData]:
    """Check, train, optimize, judge and release; return the search result and the report's data so far."""
    with reporter.stage("Check the data, and refuse to learn from what only the outcome tells"):
        findings = _check(project, data, reporter)
    with reporter.stage("Train on January to April"):
        baseline = pipeline.train(project, data)
    with reporter.stage("Search faster variants; judge each on May and June, the winner once on July and August"):
        frontier = pipeline.optimize(project, baseline, data, callback=reporter.show)
        reporter.show(terminal.render_search_briefly(frontier, groups="days"))
        reporter.show(terminal.render_rules(frontier.winner.verdict, groups="days"))
    with reporter.stage("Release the winner, signed"):
        shipped = pipeline.release(project, frontier, who=getuser())
        reporter.show(terminal.render_release(shipped.move, shipped.key_setup.created))
    policy = project.config.policy
    return frontier, ReportData(
        title="Will a flight from New York arrive more than 15 minutes late?",
        lead=LEAD,
        groups="days",
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        findings=tuple(findings),
        frontier=frontier.evaluated,
        left=frontier.screened_out,
        reasons=frontier.reasons,
        refusals=frontier.refusals,
        winner=frontier.winner,
        as_it_came=_as_it_came(project, frontier, data["test"]),
        spans=_spans(project),
        data_use=read_data_use(project, frontier.winner.variant.signature.names),
        data=frontier.baseline.data,
        release=shipped.move.release,
        key=shipped.key_setup.key,
    )


def judge_wrong_times(project: Project, baseline: Baseline, test: Dataset) -> RefusedVariant:
    """Judge the baseline on the test period with a feature view whose scheduled times are in UTC."""
    view = split_dataset(with_utc_times(test), project.config.split)["test"]
    variant = baseline.model.with_step(Step(transform="view", settings={"source": "flights:load_utc"}))
    judged = pipeline.evaluate(project, variant, build_evaluation_set(baseline, test, project.blobs), view=view)
    return RefusedVariant(title="Scheduled times taken in UTC", judged=judged)


def replay_september(project: Project, frontier: SearchResult, live: Dataset) -> Replay:
    """Replay September flight by flight over HTTP to a server in its own process."""
    september = labeled_rows(select_month(live, 9))
    subject = compare_with_baseline(
        frontier.winner.variant, build_evaluation_set(frontier.baseline, september, project.blobs), project.blobs
    )
    with server(Path(project.config.folder), f"{project.name}@live") as address:
        return replay(address, project.name, september.table, subject)


def evaluate_months(project: Project, frontier: SearchResult, data: pipeline.Data) -> tuple[Evidence, ...]:
    """Evaluate the released variant and the baseline on each month of the year."""
    found = []
    for period in data.values():
        for number in sorted(period.table["departs_at"].dt.month().unique()):
            evaluation_set = build_evaluation_set(frontier.baseline, select_month(period, number), project.blobs)
            for variant in (frontier.winner.variant, frontier.baseline.model):
                found.append(pipeline.evaluate(project, variant, evaluation_set).evidence)
    return tuple(found)


def with_utc_times(right: Dataset) -> Dataset:
    """Return the same flights with scheduled times in UTC."""
    return make_dataset(flights.load_utc(), right.roles, name="flights:load_utc")


def select_month(dataset: Dataset, number: int) -> Dataset:
    """Return the flights of one month, named after it."""
    rows = dataset.table.filter(pl.col("departs_at").dt.month() == number)
    return Dataset(name=f"2013-{number:02}", table=rows, roles=dataset.roles, digest=dataset.digest)


def _check(project: Project, data: pipeline.Data, reporter: StageReporter) -> list[Finding]:
    """Return the findings on all flights, and show that training on every column is refused."""
    whole = make_dataset(pl.concat([period.table for period in data.values()]), data["train"].roles, name="flights")
    findings = pipeline.assess(project, whole, who=getuser()).now.findings
    reporter.show(terminal.render_findings(findings))
    try:
        pipeline.train(project, data, features=[*data["train"].table.columns])
    except DataError as refusal:
        reporter.show(str(refusal))
    return list(findings)


def _as_it_came(project: Project, frontier: SearchResult, test: Dataset) -> Evidence:
    evaluation_set = build_evaluation_set(frontier.baseline, test, project.blobs)
    return pipeline.evaluate(project, frontier.baseline.model, evaluation_set).evidence


def _spans(project: Project) -> tuple[SplitPeriod, ...]:
    split = project.config.split
    named = {"train": split.train, "validation": split.validation, "test": split.test, "live": split.live}
    return tuple(SplitPeriod(name=name, first=dates[0], until=dates[1]) for name, dates in named.items())
