"""Health of a model in one record: healthy, attention, broken or cannot be judged, with the reasons and the next step.

It only reads the last records of a project and the metrics of its servers, so that a page, an alert or a command can
ask for it often. What could not be judged, or was not watched for longer than its period, is never healthy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.errors import HeadwayError, Refused
from headway.core.exposure import exposure_of
from headway.core.monitoring import (
    ACCURACY_CHANGE,
    AUC_CHANGE,
    BIAS,
    COST,
    F1_CHANGE,
    INPUT_BROKE,
    LOG_LOSS_CHANGE,
    MonitoringReport,
    MonitoringStatus,
    RowSource,
    Ticket,
)
from headway.core.record import Record
from headway.core.release import VERSION_DIGITS, PointerUpdate, version_of
from headway.core.rollout import Rollout
from headway.core.selective import CertificateAudit
from headway.core.threats import ReopenCode, ThreatAssessment, reopen_reasons
from headway.core.value_replay import ValueReplay
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.monitoring.feature_status import describe_skew, last_of_release, live_views
from headway.monitoring.servers import ServerMetrics, burning
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.settings.threats import ThreatsSection
from headway.monitoring.task import task_names
from headway.monitoring.task_runs import interval_of, last_run
from headway.registry.project import LIVE_POINTER, Project

Health = Literal["healthy", "attention", "broken", "cannot be judged"]
STATES: tuple[Health, ...] = ("broken", "attention", "cannot be judged", "healthy")
"""States, the one that decides first."""
Topic = Literal["release", "quality", "data", "service", "schedule", "threats"]
ConditionCode = Literal[
    "store not readable",
    "pointer not trusted",
    "nothing live",
    "no server answers",
    "a server does not answer",
    "another release answers",
    "a server refuses the release",
    "error budget burns",
    "log not written",
    "store away",
    "degraded",
    "drifted",
    "period not judged",
    "never watched",
    "not watched",
    "ticket open",
    "rollout overdue",
    "data not assessed",
    "data checks stop",
    "task failed",
    "values differ",
    "values not replayed",
    "certificate withdrawn",
    "certificate not judged",
    "threats not assessed",
    "threats not covered",
]
Arrival = Literal["assessed", "not assessed", "not visible", "no source"]
OVERDUE = 1.125
"""A period counts as not watched when it ended longer ago than this many times its length."""
RECENT = 50
"""Monitoring reports that are searched for the last one of the live release."""
MAX_FILES = 10_000


class Condition(Record, frozen=True, kw_only=True):
    """A reason why a model is not healthy: the state that it alone would give, a sentence, and what to do about it.

    `command` is that of the next step, `subject` what a person should look at, `detail` what the record of it says.
    """

    code: ConditionCode
    state: Health
    subject: Topic
    message: str
    next_step: str
    command: str = ""
    detail: str = ""


class Watched(Record, frozen=True, kw_only=True):
    """The last monitoring report on an ended period of the live release; times are ISO 8601, `digest` its own."""

    digest: str
    period: str
    since: str
    until: str
    source: RowSource
    status: MonitoringStatus
    message: str
    age_s: float


class ServerAnswer(Record, frozen=True, kw_only=True):
    """Whether a server answers: the problem, empty if it does, and the version of the release that it answers with."""

    address: str
    problem: str = ""
    version: str = ""


class DataArrival(Record, frozen=True, kw_only=True):
    """Whether the data that arrived were assessed: when the last ones arrived, and when they were checked (ISO 8601).

    `not visible` is the arrival of data whose source is a database, a URL or a function.
    """

    arrival: Arrival
    arrived_at: str = ""
    assessed_at: str = ""
    number: int = 0
    n_stop: int = 0


class ModelState(Record, frozen=True, kw_only=True):
    """Health of a model, the sentence that says why, and the next step.

    `conditions` are all reasons, the deciding one first. `live` is the update that made its release live. `replay` is
    set where a program replays old data: the state is that at the end of the last period, `at`. `views` are the feature
    views that the live release looks up, and `value_replay` the last comparison of their values. `certificate` is the
    last audit of the answers of the live release, and `threats` the last assessment of threats.
    """

    name: str
    at: str
    state: Health
    sentence: str
    next_step: str
    command: str = ""
    conditions: tuple[Condition, ...] = ()
    live: PointerUpdate | None = None
    watched: Watched | None = None
    ticket: Ticket | None = None
    rollout: Rollout | None = None
    data: DataArrival = DataArrival(arrival="no source")
    views: tuple[str, ...] = ()
    value_replay: ValueReplay | None = None
    servers: tuple[ServerAnswer, ...] = ()
    replay: bool = False
    certificate: CertificateAudit | None = None
    threats: ThreatAssessment | None = None


def model_state(
    project: Project,
    *,
    servers: Sequence[ServerMetrics] = (),
    declared: bool = False,
    now: datetime | None = None,
) -> ModelState:
    """Return the state of a project's model.

    Parameters
    ----------
    servers : sequence of ServerMetrics
        What its servers answered.
    declared : bool
        Whether these servers must answer. One that need not, and does not, is only shown.
    now : datetime, optional
        The time with its zone, by default that of the clock.
    """
    now = now or datetime.now(UTC)
    try:
        live = None if project.config[ModelSection].scores else project.registry.head(f"{project.name}@{LIVE_POINTER}")
    except Refused as error:
        return _problem(project, now, _not_trusted(error))
    except HeadwayError as error:
        return _problem(project, now, _not_readable(error))
    try:
        return _state(project, live, servers, declared=declared, now=now)
    except HeadwayError as error:
        return _problem(project, now, _not_readable(error))


def _state(
    project: Project, live: PointerUpdate | None, servers: Sequence[ServerMetrics], *, declared: bool, now: datetime
) -> ModelState:
    report, digest = _last_report(project, live)
    replay = report is not None and project.state.latest("stamp", name=project.name) is not None
    at = _time(report.until) if report and replay else now
    ticket, rollout = project.latest(Ticket), project.latest(Rollout)
    ticket = ticket if ticket and live and ticket.is_open(live.release) else None
    rollout = rollout if rollout and rollout.status == "running" else None
    data = data_state(project)
    views = _live_views(project)
    values = last_of_release(project, ValueReplay, live.release) if live and views else None
    audit = last_of_release(project, CertificateAudit, live.release) if live else None
    threats = project.latest(ThreatAssessment)
    has_periods = project.config[DataSection].source and project.config[DataSection].time
    watch = f"headway watch{'' if has_periods else ' --source log'}"
    found = sorted(
        [
            *_live_conditions(project, live),
            *_server_conditions(project, live, servers, declared=declared),
            *(_report_conditions(report, live, at, watch=watch) if report or (live and live.release) else ()),
            *([_open_ticket(ticket, None if replay else now)] if ticket else []),
            *(_rollout_conditions(rollout, now) if rollout else ()),
            *_data_conditions(data),
            *(_value_conditions(values, None if replay else now - _interval(project)) if views else ()),
            *(_certificate_conditions(audit) if audit else ()),
            *(_threat_conditions(project, threats, live, now) if threats else ()),
            *_task_conditions(project),
        ],
        key=lambda condition: STATES.index(condition.state),
    )
    first = found[0] if found else None
    return ModelState(
        name=project.name,
        at=at.isoformat(timespec="seconds"),
        state=first.state if first else "healthy",
        sentence=first.message if first else _healthy(report),
        next_step=first.next_step if first else "No action is needed.",
        command=first.command if first else "",
        conditions=tuple(found),
        live=live,
        watched=_watched(report, digest, at) if report else None,
        ticket=ticket,
        rollout=rollout,
        data=data,
        views=views,
        value_replay=values,
        servers=tuple(_answer(project, server) for server in servers),
        replay=replay,
        certificate=audit,
        threats=threats,
    )


def _problem(project: Project, now: datetime, condition: Condition) -> ModelState:
    return ModelState(
        name=project.name,
        at=now.isoformat(timespec="seconds"),
        state=condition.state,
        sentence=condition.message,
        next_step=condition.next_step,
        command=condition.command,
        conditions=(condition,),
    )


def _not_trusted(error: Refused) -> Condition:
    return Condition(
        code="pointer not trusted",
        state="broken",
        subject="release",
        message=sentence(f"the record of what is live does not verify: {error.what}"),
        next_step="Find out who changed the store before anything else is released.",
        command="headway history",
    )


def _not_readable(error: HeadwayError) -> Condition:
    return Condition(
        code="store not readable",
        state="cannot be judged",
        subject="release",
        message=sentence(f"the store cannot be read: {error.what}"),
        next_step=sentence(error.hint) if error.hint else "Check the store, and load the page again.",
        command="headway doctor",
    )


def _live_conditions(project: Project, live: PointerUpdate | None) -> Iterator[Condition]:
    if project.config[ModelSection].scores or (live and live.release):
        return
    what = f"live was withdrawn by {live.who}: {live.why}" if live else "no release is live"
    yield Condition(
        code="nothing live",
        state="cannot be judged",
        subject="release",
        message=sentence(what),
        next_step="Approve a release, or make one.",
        command="headway release",
    )


def _last_report(project: Project, live: PointerUpdate | None) -> tuple[MonitoringReport | None, str]:
    """Return the last report on an ended period of the live release, with its digest; without a live one, the last."""
    ended = [
        saved
        for saved in project.recent(MonitoringReport, limit=RECENT)
        if saved.record.is_complete and (live is None or saved.record.release == live.release)
    ]
    last = max(ended, key=lambda saved: saved.record.until, default=None)  # the first of equal ones was saved last
    return (last.record, last.digest) if last else (None, "")


def _watched(report: MonitoringReport, digest: str, at: datetime) -> Watched:
    return Watched(
        digest=digest,
        period=report.period,
        since=report.since,
        until=report.until,
        source=report.source,
        status=report.status,
        message=report.message,
        age_s=(at - _time(report.until)).total_seconds(),
    )


def _report_conditions(
    report: MonitoringReport | None, live: PointerUpdate | None, at: datetime, *, watch: str
) -> Iterator[Condition]:
    if report is None:
        since = f"it is live since {live.at[:10]}, and " if live else ""
        yield Condition(
            code="never watched",
            state="cannot be judged",
            subject="quality",
            message=sentence(f"{since}no period of it was judged yet"),
            next_step="Wait for the end of the first period, and watch it by a schedule.",
            command=watch,
        )
        return
    length, age = _time(report.until) - _time(report.since), at - _time(report.until)
    if age > length * OVERDUE:
        yield Condition(
            code="not watched",
            state="cannot be judged",
            subject="quality",
            message=f"It was last watched up to {report.until[:10]}, which is {describe_age(age)} ago.",
            next_step="Watch it now, and by a schedule from then on.",
            command=watch,
        )
    yield from _status_conditions(report, watch)


def _status_conditions(report: MonitoringReport, watch: str) -> Iterator[Condition]:
    detail = sentence(report.message)
    if report.status == "degraded":
        yield Condition(
            code="degraded",
            state="attention",
            subject="quality",
            message=f"In {report.period} {_shown(report)} than when it was judged.",
            next_step="Read what is worse, then roll back, recalibrate or retrain.",
            command=f'headway rollout rollback --from {report.release[:19]} --why "..."',
            detail=detail,
        )
    elif report.status == "unknown":
        yield Condition(
            code="period not judged",
            state="cannot be judged",
            subject="quality",
            message=f"{report.period} could not be judged.",
            next_step="Read why, and wait for more labels or judge a longer period.",
            command=f"{watch} --every 1q",
            detail=detail,
        )
    elif report.status == "drifted" and (not report.reply("degradation") or _broken_inputs(report)):
        broken = "inputs are out of their range"
        untested = "the inputs moved, and whether that does harm is not known yet"
        yield Condition(
            code="drifted",
            state="attention",
            subject="quality",
            message=f"In {report.period} {broken if _broken_inputs(report) else untested}.",
            next_step="Look at the inputs that moved, and at what fills them.",
            command=watch,
            detail=detail,
        )


_DEGRADATIONS = {
    AUC_CHANGE: "it ranks worse",
    ACCURACY_CHANGE: "fewer answers are right",
    F1_CHANGE: "its macro F1 is lower",
    LOG_LOSS_CHANGE: "its probabilities fit worse",
    COST: "its decisions cost more",
    BIAS: "groups of people differ more",
}


def _shown(report: MonitoringReport) -> str:
    """Return what is shown to be worse, as a clause that ends before `than when it was judged`."""
    answer = report.reply("degradation")
    shown = answer.shown if answer else ()
    named = [_DEGRADATIONS.get(name, "its probabilities or a rule of its policy are worse") for name in shown]
    return join(list(dict.fromkeys(named))) if named else "it is worse"


def _healthy(report: MonitoringReport | None) -> str:
    return f"No degradation is shown in {report.period}." if report else ""


def _broken_inputs(report: MonitoringReport) -> bool:
    return any(found.code == INPUT_BROKE for found in report.drift.findings) if report.drift else False


def describe_opening(ticket: Ticket) -> str:
    """Describe when a ticket was opened: by the clock, or in the data by which it was, if only that is known."""
    if ticket.opened_at:
        return f"open since {ticket.opened_at[:10]}"
    return f"opened by the data of {ticket.at[:10]}" if ticket.at else "open"


def _open_ticket(ticket: Ticket, now: datetime | None) -> Condition:
    """Return the condition of an open ticket; `now` is the time of the clock, None where time is replayed."""
    age = f", {describe_opening(ticket)}"
    if now and ticket.opened_at:
        age = f", open for {describe_age(now - _time(ticket.opened_at))}"
    return Condition(
        code="ticket open",
        state="attention",
        subject="quality",
        message=sentence(f"a ticket proposes to retrain{age}: {ticket.message}"),
        next_step="Compare what a retraining costs with what waiting costs.",
        command="headway retrain",
    )


def _rollout_conditions(rollout: Rollout, now: datetime) -> Iterator[Condition]:
    """Yield a condition if a stage is over its time limit, so that no process follows the rollout."""
    if not rollout.stage_at or now <= _time(rollout.stage_at) + timedelta(seconds=rollout.current.at_most_s):
        return
    yield Condition(
        code="rollout overdue",
        state="attention",
        subject="release",
        message=f"The rollout of {rollout.release[7:][:VERSION_DIGITS]} is over the time limit of its stage, "
        f"{rollout.current.name}, and no decision was made.",
        next_step="Advance it, roll it back, or let headway follow it.",
        command="headway rollout watch",
    )


def _answer(project: Project, server: ServerMetrics) -> ServerAnswer:
    version = server.models.get(project.name, "")
    problem = server.problem or ("" if version else f"it does not serve {project.name}")
    return ServerAnswer(address=server.address, problem=problem, version=version)


def _server_conditions(
    project: Project, live: PointerUpdate | None, servers: Sequence[ServerMetrics], *, declared: bool
) -> Iterator[Condition]:
    answers = [_answer(project, server) for server in servers]
    if declared:
        yield from _answer_conditions(answers)
    serving = [server for server, answer in zip(servers, answers, strict=True) if not answer.problem]
    if live and live.release:
        expected = version_of(live.release)
        others = [server.address for server in serving if server.models[project.name] != expected]
        if others:
            yield _of_service(
                "another release answers",
                "attention",
                f"{join(others)} answers with another release than the live one",
                "Wait a moment; then look at the log of that server.",
            )
    for server in serving:
        yield from _own_conditions(project, server)


def _answer_conditions(answers: Sequence[ServerAnswer]) -> Iterator[Condition]:
    silent = [answer for answer in answers if answer.problem]
    if not silent:
        return
    what = "; ".join(f"{answer.address}: {answer.problem}" for answer in silent[:3])
    if len(silent) == len(answers):
        yield _of_service("no server answers", "broken", f"no server answers ({what})", "Start the servers.")
    else:
        part = f"{len(silent)} of {len(answers)} servers {'does' if len(silent) == 1 else 'do'} not answer ({what})"
        yield _of_service("a server does not answer", "attention", part, "Start that server again.")


def _of_service(code: ConditionCode, state: Health, message: str, next_step: str) -> Condition:
    return Condition(
        code=code,
        state=state,
        subject="service",
        message=sentence(message),
        next_step=next_step,
        command="headway serve" if "nswer" in code else "",
    )


def _own_conditions(project: Project, server: ServerMetrics) -> Iterator[Condition]:
    """Yield what a server that answers reports of itself."""
    for objective, rate in burning(server).items():
        yield _of_service(
            "error budget burns",
            "broken",
            f"{server.address} uses up its error budget of {objective} {rate:.3g} times as fast as allowed",
            "Look at errors and latency, and roll back if they began with the last release.",
        )
    if server.total("headway_pointer_refused", pointer=f"{project.name}@{LIVE_POINTER}"):
        yield _of_service(
            "a server refuses the release",
            "attention",
            f"{server.address} refuses the live release because it does not verify, and answers with the one before",
            "Publish the release again, or roll back.",
        )
    if server.value("headway_log_healthy") == 0:
        yield _of_service(
            "log not written",
            "attention",
            f"{server.address} cannot write its prediction log, and loses rows",
            "Look at the disk of that server.",
        )
    if away := [role for role, up in server.by("role", "headway_store_up").items() if not up]:
        yield _of_service(
            "store away",
            "attention",
            f"{server.address} does not reach its store of {join(away)}",
            "Look at the store; the server answers on with what it knows.",
        )


def data_state(project: Project) -> DataArrival:
    """Return whether the data that arrived at `[data] source` were assessed, by the times of its files."""
    last = project.latest(Assessment)
    found = DataArrival(arrival="no source")
    if last:
        found = replace(found, assessed_at=last.at, number=last.number, n_stop=last.count("stop"))
    if not project.config[DataSection].source:
        return found
    arrived = _newest_file(project.config)
    if arrived is None:
        return replace(found, arrival="not visible")
    marked = _checked_file(project.config)
    seen = _time(last.at) + timedelta(seconds=1) if last else None  # an assessment has whole seconds
    if seen and marked.exists():
        seen = max(seen, datetime.fromtimestamp(marked.stat().st_mtime, UTC))
    arrival: Arrival = "assessed" if seen and arrived <= seen else "not assessed"
    return replace(found, arrival=arrival, arrived_at=arrived.isoformat(timespec="seconds"))


def mark_checked(config: Config, at_ns: int) -> None:
    """Note on this machine when the data were checked last, also by a check that found nothing new."""
    file = _checked_file(config)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, ns=(at_ns, at_ns))


def _checked_file(config: Config) -> Path:
    return config.state / "checked"


def _newest_file(config: Config) -> datetime | None:
    """Return when the newest file of the source was written; None for other sources, and for files that are absent."""
    source = config[DataSection].source
    if "://" in source:
        return None
    path = config.path(source)
    files: Iterable[Path]
    if path.is_dir():
        files = (found for found in path.rglob("*") if not found.name.startswith((".", "_")))
    elif "*" in path.name:
        files = path.parent.glob(path.name)
    else:
        files = (path,)
    times = [found.stat().st_mtime for found, _ in zip(files, range(MAX_FILES), strict=False) if found.is_file()]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _data_conditions(data: DataArrival) -> Iterator[Condition]:
    if data.arrival == "not assessed":
        checked = f"the last check was on {data.assessed_at[:10]}" if data.assessed_at else "they were never checked"
        yield Condition(
            code="data not assessed",
            state="attention",
            subject="data",
            message=f"Data arrived on {data.arrived_at[:10]} that were not assessed; {checked}.",
            next_step="Check the data.",
            command="headway check",
        )
    if data.n_stop:
        yield Condition(
            code="data checks stop",
            state="attention",
            subject="data",
            message=f"The last check of the data found {data.n_stop} problems that must be solved first.",
            next_step="Read the findings of the check.",
            command="headway check",
        )


def _live_views(project: Project) -> tuple[str, ...]:
    """Return the views that the live release looks up; none if it cannot be opened, which servers and alerts report."""
    try:
        return () if project.config[ModelSection].scores else live_views(project)[1]
    except HeadwayError:
        return ()


def _interval(project: Project) -> timedelta:
    return interval_of(project.config[ScheduleSection], "replay") * OVERDUE


def _value_conditions(replay: ValueReplay | None, since: datetime | None) -> Iterator[Condition]:
    """Yield a condition if values of feature views differ, could not be compared, or were not compared since a time."""
    if replay is None:
        yield _not_replayed("whether requests saw the right values of feature views is not known: no replay was made")
        return
    if replay.skews:
        first, count = replay.skews[0], len(replay.skews)
        more = f" {count} skews were found." if count > 1 else ""
        yield Condition(
            code="values differ",
            state="attention",
            subject="data",
            message=f"Requests saw wrong values of {describe_skew(first)}.{more}",
            next_step="Read which values differ since when, and correct what fills the online store.",
            command="headway features replay",
            detail=" ".join(sentence(found.message) for found in replay.findings),
        )
    if replay.unknown or not replay.n_rows:
        reasons = "; ".join(f"{view}: {reason}" for view, reason in replay.unknown.items())
        yield _not_replayed(
            f"whether requests saw the right values could not be judged: {reasons or 'no row is logged'}"
        )
    elif since is not None and _time(replay.at) < since:
        yield _not_replayed(f"the values that requests saw of feature views were last compared on {replay.at[:10]}")


def _threat_conditions(
    project: Project, threats: ThreatAssessment, live: PointerUpdate | None, now: datetime
) -> Iterator[Condition]:
    """Yield a condition if an assessment of threats is due again, or if requirements became gaps."""
    due = reopen_reasons(threats, release=live.release if live else "", exposure=exposure_of(project.config), now=now)
    if due:
        changed = join([_CHANGED[code] for code in due])
        yield Condition(
            code="threats not assessed",
            state="attention",
            subject="threats",
            message=f"The threats were assessed on {threats.at[:10]}, and since then {changed}.",
            next_step="Assess them again, and by a schedule from then on.",
            command="headway threats",
        )
    gaps = [row.id for row in threats.open_gaps(level=project.config[ThreatsSection].level) if row.id in threats.opened]
    if gaps:
        yield Condition(
            code="threats not covered",
            state="attention",
            subject="threats",
            message=f"Not covered any more: {join(gaps[:MAX_NAMED])}{' and more' if len(gaps) > MAX_NAMED else ''}.",
            next_step="Read what is missing, and follow its next step or accept the risk.",
            command="headway threats",
        )


_CHANGED: Mapping[ReopenCode, str] = {
    "model": "another release went live",
    "data": "the data changed",
    "exposure": "it can be reached in another way",
    "catalogue": "the catalogue of threats changed",
    "time": "their time is over",
}
MAX_NAMED = 3


def _certificate_conditions(audit: CertificateAudit) -> Iterator[Condition]:
    """Yield a condition if a certificate is withdrawn, or its audit says nothing for want of labels."""
    if audit.status == "broken":
        yield Condition(
            code="certificate withdrawn",
            state="attention",
            subject="quality",
            message=sentence(audit.message),
            next_step="Label messages that people answered, then retrain: a new release has a new certificate.",
            command="headway retrain",
        )
    elif audit.status == "unknown":
        yield Condition(
            code="certificate not judged",
            state="cannot be judged",
            subject="quality",
            message=sentence(audit.message),
            next_step="Label the answers that were drawn for the audit.",
            command="headway labels next",
        )


def _not_replayed(message: str) -> Condition:
    return Condition(
        code="values not replayed",
        state="cannot be judged",
        subject="data",
        message=sentence(message),
        next_step="Compare them now, and by a schedule from then on.",
        command="headway features replay",
    )


def _task_conditions(project: Project) -> Iterator[Condition]:
    """Yield a condition for each task of the schedule whose last run failed."""
    for run in filter(None, (last_run(project, task) for task in task_names())):
        if run.outcome == "failed":
            yield Condition(
                code="task failed",
                state="attention",
                subject="schedule",
                message=f"The task {run.task} of the schedule failed on {run.ended_at[:10]}.",
                next_step="Read what failed, and run it again.",
                command=f"headway run --task {run.task}",
                detail=sentence(run.message),
            )


def describe_age(age: timedelta) -> str:
    """Describe how long ago something was.

    >>> describe_age(timedelta(minutes=7)), describe_age(timedelta(days=3)), describe_age(timedelta(seconds=5))
    ('7 minutes', '3 days', 'less than a minute')
    """
    minutes = int(age.total_seconds() // 60)
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if count := minutes // size:
            return f"{count:,} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def join(names: Sequence[str]) -> str:
    """Join names in a sentence.

    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def sentence(text: str) -> str:
    """Return a text as a sentence: with a capital, and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _time(text: str) -> datetime:
    """Return a time of a record; one without a zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
