"""The contract of a condition of alerts: a plug-in of the kind `condition`, judged by records and metrics of servers.

A condition that cannot be judged is neither: what was sent before stays true until the opposite is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from headway.core import plugins
from headway.core.errors import ConfigError, HeadwayError, PluginError, Refused
from headway.core.evidence import Evidence
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.record import kind_of, read
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.schedule import TaskRun
from headway.core.value_replay import ValueReplay
from headway.data.settings.model import ModelSection
from headway.monitoring.feature_status import last_of_release, live_views
from headway.monitoring.servers import ServerMetrics, metrics_key, read_server, server_addresses
from headway.monitoring.settings.alert import AlertRule
from headway.monitoring.settings.ui import UiSection
from headway.monitoring.task import task_names
from headway.monitoring.task_runs import last_run
from headway.registry.project import LIVE_POINTER, Project

CONTRACT = "contract"
FAILING = "contract.failing"
MAX_REPORTS, MAX_PAGES = 200, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionState:
    """Whether a condition holds, the sentence that says so, and what it is about.

    `page` is the page of the dashboard below that of the model.
    """

    is_firing: bool
    summary: str
    subject: str = ""
    release: str = ""
    page: str = ""


class Facts:
    """What conditions are judged by; each part is read when the first condition needs it."""

    def __init__(self, project: Project, *, now: datetime, servers: Sequence[ServerMetrics] | None = None) -> None:
        self.project = project
        self.now = now
        self._read = servers

    @cached_property
    def live(self) -> PointerUpdate | None:
        """The last update of the pointer `live`, whose signature `refused` verifies; None before the first."""
        last = self.project.state.last(self.project.name, LIVE_POINTER)
        return read(PointerUpdate, last.content) if last else None

    @cached_property
    def release(self) -> str:
        """Digest of the release that is live; empty if none is."""
        return self.live.release if self.live else ""

    @cached_property
    def reports(self) -> list[MonitoringReport]:
        """Return the last report on each ended period of the live release, in the order of time."""
        found: dict[tuple[str, str, str], MonitoringReport] = {}
        saved = self.project.state.recent(kind_of(MonitoringReport), name=self.project.name, limit=MAX_REPORTS)
        for report in (read(MonitoringReport, one.content) for one in reversed(saved)):
            if self._is_about_live(report) and report.is_complete:
                found[report.source, report.since, report.until] = report
        return sorted(found.values(), key=lambda report: report.until)

    def _is_about_live(self, report: MonitoringReport) -> bool:
        return report.release == self.release or bool(self.project.config[ModelSection].scores)

    @cached_property
    def ticket(self) -> Ticket | None:
        """The open ticket."""
        ticket = self.project.latest(Ticket)
        return ticket if ticket and ticket.is_open(self.release) else None

    @cached_property
    def rollout(self) -> Rollout | None:
        """The last rollout."""
        return self.project.latest(Rollout)

    @cached_property
    def refused(self) -> str:
        """Why the release that is live is not trusted; empty if it verifies."""
        if not self.release:
            return ""
        try:
            self.project.registry.resolve(f"{self.project.name}@{LIVE_POINTER}")
        except Refused as error:
            return error.what
        return ""

    @cached_property
    def failing_rows(self) -> tuple[float, int, str] | None:
        """Share of rows that broke the contract in the last check, the number of rows, and the time."""
        before = 0
        for _ in range(MAX_PAGES):
            page = self.project.state.recent("evidence", name=self.project.name, before=before)
            for evidence in (read(Evidence, one.content) for one in page if FAILING.encode() in one.content):
                measured = evidence.find(FAILING)
                if evidence.period == CONTRACT and measured is not None:
                    return measured.value, measured.n_rows, evidence.at
            before = page[-1].position if page else 1
            if before <= 1:
                break
        return None

    @cached_property
    def servers(self) -> list[ServerMetrics]:
        """Metrics of the servers in `[ui] servers`, else of the one of `[serve]` on this machine, if it runs there."""
        key, config = metrics_key(), self.project.config
        found = self._read
        if found is None:
            found = [read_server(address, key=key) for address in server_addresses(config)]
        return [
            one for one in found if config[UiSection].servers or (not one.problem and self.project.name in one.models)
        ]

    @cached_property
    def answering(self) -> list[ServerMetrics]:
        """Servers whose metrics could be read."""
        return [server for server in self.servers if not server.problem]

    @cached_property
    def is_replay(self) -> bool:
        """Whether a program replays old data, so that the clock says nothing about its periods."""
        return self.project.state.latest("stamp", name=self.project.name) is not None

    @cached_property
    def views(self) -> tuple[str, ...]:
        """Return the feature views that the live release looks up; none if it is not trusted, see `refused`."""
        try:
            return live_views(self.project)[1]
        except Refused:
            return ()

    @cached_property
    def value_replay(self) -> ValueReplay | None:
        """Return the last value replay of the live release."""
        return last_of_release(self.project, ValueReplay, self.release)

    @cached_property
    def task_runs(self) -> list[TaskRun]:
        """Return the last run of each scheduled task."""
        runs = (last_run(self.project, task) for task in task_names())
        return [run for run in runs if run]


def nothing_judged(facts: Facts) -> ConditionState | None:
    """Return that nothing is known of a release that has just gone live; None if there is none."""
    if not facts.release:
        return None
    return ConditionState(
        is_firing=False, summary="another release is live, and no period of it was judged yet", release=facts.release
    )


Judge = Callable[[Facts, AlertRule], ConditionState | None]
"""Returns whether a condition holds now; None if that cannot be judged.

Raises HeadwayError if a store cannot be read.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCondition:
    """A state of a model that alerts are sent on.

    Parameters
    ----------
    title : str
        What it is called for people, such as `The model has degraded`.
    judge : callable
        Judges it by the facts of a project, for a rule.
    order : int
        Place among the conditions on the page of alerts.
    """

    title: str
    judge: Judge
    order: int = 1_000


def load_condition(name: str) -> AlertCondition:
    """Return a condition; raises ConfigError if there is none of that name, and PluginError if it cannot be used."""
    if name not in plugins.names("condition"):
        known = ", ".join(plugins.names("condition"))
        raise ConfigError(f"no condition {name!r}", where="[[alert]] when", hint=f"one of: {known}")
    with plugins.guarded("condition", name):
        condition = plugins.load("condition", name)
    if not isinstance(condition, AlertCondition):
        raise PluginError(f"the plug-in condition {name!r} is not an AlertCondition")
    return condition


def condition_names() -> tuple[str, ...]:
    """Return every condition in the order of the page of alerts; one that cannot be used is among the last."""
    return tuple(sorted(plugins.names("condition"), key=lambda name: (_order(name), name)))


def _order(name: str) -> int:
    try:
        return load_condition(name).order
    except HeadwayError:
        return 1_000


def condition_title(name: str) -> str:
    """Return what a condition is called for people; one that is not installed or cannot be used keeps its name."""
    try:
        return load_condition(name).title
    except HeadwayError:
        return name


def judge_condition(name: str, facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether a condition holds now; None if that cannot be judged.

    Raises HeadwayError if a store cannot be read, or if the plug-in fails.
    """
    condition = load_condition(name)
    with plugins.guarded("condition", name):
        return condition.judge(facts, rule)
