"""Run the demo on real flights: train, search, release, serve, roll back, monitor, retrain, and replay values."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace
from rich.console import Console, RenderableType

from headway import pipeline
from headway.api.as_called import native_calls
from headway.cli.demo import flights
from headway.cli.demo.replay import SERVER_LOG, replay, server
from headway.cli.demo.stream import Change, FeatureStream, Row
from headway.cli.feature_rows import describe_run, materialize_project
from headway.core.dataset import Dataset
from headway.core.errors import DataError, HeadwayError, NotApplicable
from headway.core.evidence import Evidence, Finding
from headway.core.feature_report import FeatureReport
from headway.core.feature_view import FeatureView
from headway.core.plan import Demand, DeploymentPlan
from headway.core.release import Release
from headway.core.rollout import Plan, Rollout
from headway.core.rollout import RolloutStage as RolloutStage
from headway.core.search_result import Baseline, SearchResult
from headway.core.threads import this_machine
from headway.core.value_replay import ValueReplay
from headway.core.variant import Step
from headway.data.open import make_dataset
from headway.data.settings.policy import PolicySection
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, split_dataset
from headway.deployment.plan.prices import read_prices
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.features import catalog
from headway.features.definitions import read_views
from headway.features.join import join_views
from headway.features.online_rows import MAX_BATCH
from headway.monitoring import rollout as control
from headway.monitoring.rollout import follow_rollout
from headway.registry.project import Project, open_project
from headway.registry.searches import search_digest
from headway.reporting.console import make_console
from headway.reporting.page import write_report
from headway.reporting.read_report_data import (
    next_step,
    read_data_use,
    read_monitoring_history,
    read_releases,
    split_periods,
)
from headway.reporting.report_data import RefusedVariant, Replay, ReportData, Stage, Stamp
from headway.reporting.text import terminal
from headway.reporting.text.feature_tables import skew_sentences, tabulate_skews
from headway.reporting.text.plan import describe_times, plan_lines, tabulate_plan
from headway.reporting.text.threats import tabulate_topics, threats_lines
from headway.security.threats.assessment import assess_threats
from headway.serving.client import Client
from headway.storage.addresses import open_online

FILES = ("headway.toml", "features.toml", "flights.py", "train.py", "prices.toml")
HERE = Path(__file__).parent
SCHEDULE_VIEW = FeatureView(name="schedule", table="schedule_feed", columns=("dep_minute", "arr_minute", "weekday"))
SOUND_REQUESTS = 1_500
AFTER_REQUESTS = 500
WRONG_REQUESTS = 1_000
MAX_REQUESTS = 8_000
REQUESTS_PER_DECISION = 25
ATTACKS = ("extraction", "attack")
"""Audits of the winner; not membership, as rows of train are older than the others: a difference may be drift."""
HERE_NAME, MEASURED_S = "this-machine", 3.0
DEMAND = Demand(per_s=50.0, sites=20)
Wait = Callable[[float], object]
FEED = Plan(stages=(RolloutStage(share=0.2),))
KNOWN_BY = datetime(2013, 10, 1)
RETRAINED_AT = datetime(2013, 11, 1)
LEAD = (
    "A model was trained on January to April of 2013. headway searched for a faster variant, showed on days that the "
    "model had not seen that it is as accurate, signed it, served it, and sent a month of flights to the server.",
)


def run(folder: Path, *, screen: Console | None = None) -> Path:
    """Run the demo in a folder and return the path of its report, which it prints last."""
    reporter, started = StageReporter(screen or make_console()), datetime.now(UTC)
    with reporter.stage("Load 336,776 flights, and join weather and planes as they were known two hours before"):
        project = open_demo(folder)
        data = pipeline.periods(project)
        reporter.show(describe_join(data))
    search_result, report = train_and_release(project, data, reporter)
    with reporter.stage("Refuse a deliberately wrong variant: scheduled times in UTC"):
        wrong = judge_wrong_times(project, search_result.baseline, data["test"])
        reporter.show(terminal.render_rules(wrong.judged.verdict, groups="days"))
    with reporter.stage("Serve the release in a separate process, and replay September over HTTP"):
        reporter.show(f"the server's log: {(folder / SERVER_LOG).resolve()}")
        replayed = replay_september(project, search_result, data["live"])
        reporter.show(terminal.render_replay(replayed))
    with reporter.stage("Give a new release a share of October's traffic, and break its feed"):
        roll_back_broken_feed(project, data["live"], reporter)
    with reporter.stage("Measure the year, month by month"):
        months = evaluate_months(project, search_result, data)
    with reporter.stage("Monitor September and October as their labels arrive"):
        report_windows(project, reporter, until=RETRAINED_AT)
    with reporter.stage(
        "Retrain on labels known by October, judge it against live, and give it half of November's traffic"
    ):
        retrain_and_roll_out(project, data["live"], reporter)
    with reporter.stage("Monitor November and December"):
        report_windows(project, reporter, since=f"{RETRAINED_AT:%Y-%m}")
    with reporter.stage("Push December's weather in the wrong unit, and find it by value replay"):
        serve_wrong_weather(project, data["live"], reporter)
        value_replay, features = replay_values(project, since=started)
        reporter.show(terminal.TerminalTable(tabulate_skews(value_replay, features)))
        for sentence in skew_sentences(value_replay, features):
            reporter.show(sentence)
    with reporter.stage("Assess the threats: what is covered by evidence, and what to do next"):
        threats = assess_threats(project, who=getuser())
        for line in threats_lines(threats):
            reporter.show(line)
    with reporter.stage("Edge or cloud: measure the winner and the baseline here, and plan with invented prices"):
        plan = plan_where_to_run(project, search_result, data, reporter)
    report = replace(
        report,
        threats=threats.now,
        plan=plan,
        refused=wrong,
        replay=replayed,
        year=read_monitoring_history(project, since=started),
        months=months,
        features=features,
        value_replay=value_replay,
        releases=read_releases(project, since=started),
        searched_at=search_result.at,
        stages=tuple(reporter.stages),
        machine=this_machine(),
    )
    follow, reason = next_step(search_result.winner.verdict, report.year, report.releases)
    report = replace(report, next_step=follow, next_reason=reason)
    reporter.show(terminal.render_summary(report))
    reporter.show(terminal.TerminalTable(tabulate_topics(threats.now)))
    path = write_report(report, folder / "report.html")
    reporter.show(str(path.resolve()))
    return path


def open_demo(folder: Path, *, flags: Mapping[str, str] | None = None, more: str = "") -> Project:
    """Open the demo's project with fresh files and its views applied; store and sources of an earlier run stay.

    `more` is added to the module that reads the flights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(HERE / name, folder / name)
    with (folder / "flights.py").open("a", encoding="utf-8") as file:
        file.write(more)
    flights.write_sources(folder)
    project = open_project(folder, flags=dict(flags or {}))
    catalog.apply(project.state, read_views(folder), who=getuser())
    return project


def describe_join(data: pipeline.Data) -> str:
    """Describe in a sentence what each view brought to the flights."""
    tables = [period.table for period in data.values()]
    n_rows = sum(map(len, tables))
    views = next(iter(data.values())).views
    known = {view.name: sum(table[view.feature_names[0]].count() for table in tables) for view in views}
    shares = ", ".join(f"{name} of {count / n_rows:.1%}" for name, count in known.items())
    return f"{len(views)} feature views of {FILES[1]} are joined to {n_rows:,} flights; known are {shares}"


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


def train_and_release(
    project: Project, data: pipeline.Data, reporter: StageReporter
) -> tuple[SearchResult, ReportData]:
    """Check, train, optimize, judge and release; return the search result and the report's data so far."""
    with reporter.stage("Check the data, and refuse to learn from columns that are known only after the outcome"):
        findings = _check(project, data, reporter)
    with reporter.stage("Train on January to April"):
        baseline = pipeline.train(project, data)
    with reporter.stage("Search faster variants; judge each on May and June, the winner once on July and August"):
        calls = native_calls(project, data["validation"].table)
        search_result = pipeline.optimize(project, baseline, data, measure_calls=calls, callback=reporter.show)
        reporter.show(terminal.render_search_briefly(search_result, groups="days"))
        reporter.show(terminal.render_rules(search_result.winner.verdict, groups="days"))
    with reporter.stage("Attack the winner: copy it by asking it, and flip its decisions by small changes"):
        search_result = pipeline.audit_winner(
            project, search_result, data, audits=ATTACKS, metrics=False, callback=reporter.show
        )
    with reporter.stage("Release the winner, signed, and write its views to the online store"):
        published = pipeline.release(project, search_result, who=getuser())
        reporter.show(terminal.render_release(published.move, published.key_setup.created))
        for view in materialize_project(project, callback=reporter.show):
            reporter.show(describe_run(view))
    with reporter.stage(
        "Let every variant answer without each column, and by month, for the page Explore of headway ui"
    ):
        pipeline.prepare_explore(project, search_digest(project), data)
    policy = project.config[PolicySection]
    return search_result, ReportData(
        title="Will a flight from New York arrive more than 15 minutes late?",
        lead=LEAD,
        groups="days",
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        findings=tuple(findings),
        frontier=search_result.evaluated,
        screened_out=search_result.screened_out,
        reasons=search_result.reasons,
        refusals=search_result.refusals,
        winner=search_result.winner,
        baseline_evidence=_evaluate_baseline(project, search_result, data["test"]),
        spans=split_periods(project),
        data_use=read_data_use(project, search_result.winner.variant.signature.names),
        data=search_result.baseline.data,
        release=published.move.release,
        key=published.key_setup.key,
    )


def judge_wrong_times(project: Project, baseline: Baseline, test: Dataset) -> RefusedVariant:
    """Judge the baseline on the test period with a feature view whose scheduled times are in UTC."""
    view = split_dataset(with_utc_times(project, test), project.config[SplitSection])["test"]
    variant = baseline.model.with_step(Step(transform="view", settings={"source": "flights:scheduled_utc"}))
    judged = pipeline.evaluate(project, variant, build_evaluation_set(baseline, test, project.blobs), view=view)
    return RefusedVariant(title="Scheduled times taken in UTC", judged=judged)


def replay_september(project: Project, search_result: SearchResult, live: Dataset) -> Replay:
    """Replay September flight by flight over HTTP to a server in its own process."""
    month = labeled_rows(select_month(live, 9))
    september = dataclasses.replace(month, table=_in_order(month.table))
    comparison = compare_with_baseline(
        search_result.winner.variant,
        build_evaluation_set(search_result.baseline, september, project.blobs),
        project.blobs,
    )
    with (
        server(Path(project.config.folder), f"{project.name}@live") as address,
        FeatureStream(project, _live(project).views, september.table) as stream,
    ):
        columns = _request_columns(project)
        return replay(address, project.name, september.table, comparison, columns=columns, before=stream.before)


def evaluate_months(project: Project, search_result: SearchResult, data: pipeline.Data) -> tuple[Evidence, ...]:
    """Evaluate the released variant and the baseline on each month of the year."""
    found = []
    for period in data.values():
        for number in sorted(period.table["departs_at"].dt.month().unique()):
            evaluation_set = build_evaluation_set(search_result.baseline, select_month(period, number), project.blobs)
            for variant in (search_result.winner.variant, search_result.baseline.model):
                found.append(pipeline.evaluate(project, variant, evaluation_set).evidence)
    return tuple(found)


def with_utc_times(project: Project, right: Dataset) -> Dataset:
    """Return the same flights with scheduled times in UTC, and the features of the same views."""
    wrong = make_dataset(flights.scheduled_utc(), right.roles, name="flights:scheduled_utc")
    return join_views(wrong, right.views, folder=Path(project.config.folder))


def select_month(dataset: Dataset, number: int) -> Dataset:
    """Return the flights of one month, named after it."""
    rows = dataset.table.filter(pl.col("departs_at").dt.month() == number)
    return dataclasses.replace(dataset, name=f"2013-{number:02}", table=rows)


def _check(project: Project, data: pipeline.Data, reporter: StageReporter) -> list[Finding]:
    """Return the findings on all flights, and show that training on every column is refused."""
    tables = [period.table for period in data.values()]
    year = make_dataset(pl.concat(tables), data["train"].roles, name="flights")
    flights_2013 = dataclasses.replace(year, views=data["train"].views)
    findings = pipeline.assess(project, flights_2013, who=getuser()).now.findings
    reporter.show(terminal.render_check(findings))
    try:
        pipeline.train(project, data, features=[*data["train"].table.columns])
    except DataError as refusal:
        reporter.show(str(refusal))
    return list(findings)


def _evaluate_baseline(project: Project, search_result: SearchResult, test: Dataset) -> Evidence:
    evaluation_set = build_evaluation_set(search_result.baseline, test, project.blobs)
    return pipeline.evaluate(project, search_result.baseline.model, evaluation_set).evidence


class Callers:
    """Send flights one by one over HTTP, each from its own caller, while a rollout runs."""

    def __init__(
        self, project: Project, client: Client, table: pl.DataFrame, stream: FeatureStream, *, broken_at: int = 0
    ) -> None:
        self.sent = self.failed = 0
        self.broken_at, self.broke = broken_at, time.monotonic()
        self._project, self._client, self._stream = project, client, stream
        self._columns = {name: table[name].to_list() for name in _request_columns(project)}
        self._keys = keys_of(table)

    @property
    def failures(self) -> str:
        """Number of failed requests, as text."""
        return f"{self.failed} of {self.sent:,} requests failed"

    def send_between(self, _: float) -> None:
        """Send the flights between two decisions; after the last flight, end the rollout."""
        if self.sent < MAX_REQUESTS:
            self.send(REQUESTS_PER_DECISION)
        else:
            control.roll_back(
                self._project,
                from_release=control.release_to_leave(self._project),
                who="the demo",
                why="all flights were sent, and the rollout is still undecided",
            )

    def send(self, count: int) -> None:
        """Send the next flights."""
        for row in range(self.sent, self.sent + count):
            if row == self.broken_at:
                self.broke = time.monotonic()
            self._stream.before(row)
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


def describe_rollback(rollout_run: RolloutRun) -> str:
    """Describe the rollback in a sentence."""
    callers, rollout = rollout_run.callers, rollout_run.rollout
    rolled_back = rollout.status == "rolled back" and rollout_run.requests < MAX_REQUESTS
    return (
        f"A new release read its schedule from a feed and received {rollout.current.share:.0%} of the callers. After "
        f"{callers.broken_at:,} requests the feed began to send its times in UTC. "
        f"{rollout_run.requests - callers.broken_at:,} requests and {rollout_run.seconds:.1f} s later "
        f"({rollout.of_release:,} requests of the new release in all) it was "
        f"{'rolled back automatically' if rolled_back else 'still there'}; {callers.failures}. Reason: {rollout.why}"
    )


def release_with_feed(project: Project, *, who: str) -> str:
    """Publish the released variant again, with its schedule read from a feed."""
    bundle = project.registry.resolve(f"{project.name}@live")
    return project.registry.publish(
        replace(bundle.release, views=(*bundle.release.views, SCHEDULE_VIEW), made_by=who), bundle.files
    )


def fill_feed(project: Project, table: pl.DataFrame, wrong: pl.DataFrame) -> None:
    """Fill the feed: correct for the first flights, in UTC after `SOUND_REQUESTS`."""
    right = pl.concat([table.head(SOUND_REQUESTS), wrong.slice(SOUND_REQUESTS)])
    values = right.select(SCHEDULE_VIEW.columns).cast(pl.Float64).to_numpy()
    keys, at_us = keys_of(table), np.full(len(table), time.time_ns() // 1000)
    with closing(open_online(project.config)) as online:
        for start in range(0, len(keys), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            online.write(SCHEDULE_VIEW.online_table, keys[part], values[part], at_us[part])


def keys_of(table: pl.DataFrame) -> list[str]:
    """Return a key per flight, shared by callers and feed."""
    return [f"flight-{number}" for number in range(len(table))]


def run_rollout(
    project: Project, table: pl.DataFrame, follow: Callable[[Wait], Rollout], *, broken_at: int = 0
) -> RolloutRun:
    """Follow the running rollout to its end, with flights between decisions and some after it."""
    with _serving(project, table) as (client, stream):
        callers = Callers(project, client, table, stream, broken_at=broken_at)
        ended = follow(callers.send_between)
        rollout_run = RolloutRun(ended, callers, requests=callers.sent, seconds=time.monotonic() - callers.broke)
        callers.send(AFTER_REQUESTS)
    return rollout_run


def roll_back_broken_feed(project: Project, live: Dataset, reporter: StageReporter) -> None:
    """Roll out a sound release in October, break its feed, and let the judge roll it back."""
    utc = split_dataset(with_utc_times(project, live), project.config[SplitSection])["live"]
    right, wrong = (_flights(period, 10) for period in (live, utc))
    fill_feed(project, right, wrong)
    digest = release_with_feed(project, who=getuser())
    control.start_rollout(project, digest, plan=FEED, who=getuser(), why="reads the schedule from a feed")
    rollout_run = run_rollout(
        project,
        right,
        lambda wait: follow_rollout(project, callback=reporter.show, wait=wait),
        broken_at=SOUND_REQUESTS,
    )
    note = f"After {SOUND_REQUESTS:,} requests its feed began to send its times in UTC."
    _stamp(project, rollout_run.rollout.salt, at="2013-10", note=note)
    reporter.show(describe_rollback(rollout_run))


def report_windows(
    project: Project, reporter: StageReporter, *, since: str = "", until: datetime | None = None
) -> None:
    """Report on the live release month by month from `since`, as its labels arrived: drift, quality and tickets."""
    for report in pipeline.watch(project, until=until):
        if report.period >= since:
            reporter.show(report.message)


def retrain_and_roll_out(project: Project, live: Dataset, reporter: StageReporter) -> None:
    """Retrain on what was labelled by October, judge it against live, and promote it through a canary rollout."""
    retraining = pipeline.retrain(project, until=KNOWN_BY, callback=reporter.show)
    reporter.show(retraining.message)
    _stamp(project, retraining.key, at="2013-10")
    promotion = pipeline.promote(project, retraining, who=getuser())
    if promotion.rollout is None:
        return
    reporter.show(promotion.message)
    rollout, november = promotion.rollout, _flights(live, 11)
    rollout_run = run_rollout(
        project,
        november,
        lambda wait: pipeline.follow_promotion(project, callback=reporter.show, wait=wait).rollout or rollout,
    )
    _stamp(project, rollout_run.rollout.salt, at="2013-11")
    reporter.show(
        f"It received half of the callers for {rollout_run.requests:,} requests; {rollout_run.callers.failures}. "
        f"{rollout_run.rollout.why}"
    )


def plan_where_to_run(
    project: Project, search_result: SearchResult, data: pipeline.Data, reporter: StageReporter
) -> DeploymentPlan:
    """Measure this machine, assume that each location of the example prices is as fast, and plan where to run.

    Other processes may use the cores; the plan says so. `headway plan` also finds what would change the
    answer, which takes longer.
    """
    prices = read_prices(Path(project.config.folder) / "prices.toml")
    try:
        for times in pipeline.measure_location(
            project, search_result, data, location=HERE_NAME, seconds=MEASURED_S, accept_busy=True
        ):
            reporter.show(describe_times(times))
            for location in (*prices.instance, *prices.hardware):
                project.save(replace(times, location=location, assumed_from=HERE_NAME))
    except NotApplicable as error:  # the CPU time of a server is read on Linux only
        reporter.show(str(error))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    plan = pipeline.plan(project, search_result, prices, DEMAND, at=now, with_changes=False)
    reporter.show(terminal.TerminalTable(tabulate_plan(plan)))
    for line in plan_lines(plan):
        reporter.show(line)
    return plan


def _stamp(project: Project, of: str, *, at: str, note: str = "") -> None:
    """Store when something happened in the time of the flights; the clock shows when the demo ran."""
    project.save(Stamp(name=project.name, of=of, at=at, note=note))


def serve_wrong_weather(project: Project, live: Dataset, reporter: StageReporter) -> None:
    """Send flights of December, while a new job of the weather begins to push degrees Celsius for Fahrenheit."""
    december = _flights(live, 12)
    with _serving(project, december, wrong={"weather": in_celsius}, wrong_from=WRONG_REQUESTS) as (client, stream):
        callers = Callers(project, client, december, stream)
        callers.send(2 * WRONG_REQUESTS)
    reporter.show(
        f"After {WRONG_REQUESTS:,} flights of December a new job pushed the weather to the online store in degrees "
        f"Celsius; the model was trained on Fahrenheit. No answer shows it: {callers.failures}."
    )


def in_celsius(row: Row) -> Row:
    """Return a row of the weather with its temperatures in degrees Celsius."""
    return {**row, **{name: _celsius(row[name]) for name in ("temp", "dewp")}}


def _celsius(fahrenheit: object) -> object:
    return (fahrenheit - 32) / 1.8 if isinstance(fahrenheit, float) else fahrenheit


def replay_values(project: Project, *, since: datetime) -> tuple[ValueReplay, FeatureReport]:
    """Replay the requests of the live release, and measure what the lookup of each view costs and is worth."""
    return pipeline.replay_features(project, since=since), pipeline.report_features(project)


@contextmanager
def _serving(
    project: Project, table: pl.DataFrame, *, wrong: Mapping[str, Change] | None = None, wrong_from: int = 0
) -> Iterator[tuple[Client, FeatureStream]]:
    """Run a server with a client, and a stream for these flights."""
    with (
        server(Path(project.config.folder), f"{project.name}@live") as address,
        Client(address) as client,
        FeatureStream(project, _live(project).views, table, wrong=wrong, wrong_from=wrong_from) as stream,
    ):
        yield client, stream


def _request_columns(project: Project) -> list[str]:
    """Return what a request to the live release brings: columns of the model that no view brings, and the entities."""
    release = _live(project)
    brought = {name for view in release.views for name in view.feature_names}
    own = [name for name in release.variant.signature.names if name not in brought]
    return list(dict.fromkeys([*own, *(entity for view in release.views for entity in view.entities)]))


def _live(project: Project) -> Release:
    return project.registry.resolve(f"{project.name}@live").release


def _flights(period: Dataset, month: int) -> pl.DataFrame:
    return _in_order(labeled_rows(select_month(period, month)).table)


def _in_order(table: pl.DataFrame) -> pl.DataFrame:
    return table.sort("departs_at_utc", maintain_order=True)
