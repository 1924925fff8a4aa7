"""State of a model in words: one line for each part, for the terminal and for pages."""

from __future__ import annotations

from datetime import timedelta

from headway.core.monitoring import MonitoringStatus
from headway.core.selective import CertificateAudit
from headway.monitoring.overview import DataArrival, Health, ModelState, describe_age, describe_opening
from headway.monitoring.servers import ModelTraffic
from headway.reporting.report_data import JUDGE
from headway.reporting.text import formatting
from headway.reporting.text.feature_tables import describe_value_replay
from headway.reporting.text.tables import Line, Style
from headway.reporting.text.threats import describe_threats

STATE_STYLES: dict[Health, Style] = {
    "healthy": "pass",
    "attention": "undecided",
    "broken": "fail",
    "cannot be judged": "quiet",
}
STATE_MARKS: dict[Health, str] = {
    "healthy": "✓ healthy",
    "attention": "! needs attention",
    "broken": "✗ broken",
    "cannot be judged": "? cannot be judged",
}
STATUS_WORDS: dict[MonitoringStatus, str] = {
    "healthy": "no degradation is shown",
    "drifted": "the inputs have drifted",
    "degraded": "degradation is shown",
    "unknown": "it could not be judged",
}


def describe_live(state: ModelState) -> str:
    """Describe which release is live, since when, and who made it so."""
    live = state.live
    if live is None or not live.release:
        return "no release is live"
    by = "the judge" if live.who == JUDGE else live.who
    return f"{formatting.short_digest(live.release)} since {formatting.format_time(live.at)}, by {by}"


def describe_rollout(state: ModelState) -> str:
    """Describe the running rollout: its release and its stage; empty without one."""
    rollout = state.rollout
    return f"{formatting.short_digest(rollout.release)} at {rollout.current.name}" if rollout else ""


def describe_watched(state: ModelState) -> str:
    """Describe the last monitored period and how long ago it ended."""
    watched = state.watched
    if watched is None:
        return "no period was judged yet"
    age = "" if state.replay else f", which ended {describe_age(timedelta(seconds=watched.age_s))} ago"
    rows = "the prediction log" if watched.source == "log" else "the table"
    return f"{formatting.period_name(watched.period)}{age}: {STATUS_WORDS[watched.status]}, by {rows}"


def describe_ticket(state: ModelState) -> str:
    """Describe the open ticket, if there is one."""
    return f"one, {describe_opening(state.ticket)}" if state.ticket else "none open"


def describe_servers(state: ModelState) -> str:
    """Describe how many servers answer, and the problems of the others."""
    if not state.servers:
        return "none is known: [ui] servers lists their addresses"
    silent = [server for server in state.servers if server.problem]
    count = f"{len(state.servers) - len(silent)} of {len(state.servers)} answer"
    named = "; ".join(f"{server.address}: {server.problem}" for server in silent[:2])
    return f"{count} ({named})" if named else count


def describe_data(data: DataArrival) -> str:
    """Describe whether the data that arrived were checked."""
    checked = f"last checked on {data.assessed_at[:10]}" if data.assessed_at else "never checked"
    if data.arrival == "no source":
        return "the project has no table"
    if data.arrival == "not visible":
        return f"{checked}; whether new rows arrived is not visible here"
    if data.arrival == "not assessed":
        return f"new since {data.arrived_at[:10]}, {checked}"
    return f"all checked, {checked}"


def describe_values(state: ModelState) -> str:
    """Describe whether requests saw the right values of the feature views that the live release looks up; some are."""
    replay = state.value_replay
    if replay is None:
        return f"{formatting.join_names(state.views)}: not replayed yet"
    return f"{describe_value_replay(replay)} (replayed on {replay.at[:10]})"


def describe_certificate(audit: CertificateAudit) -> str:
    """Describe the last audit of the answers of the live release."""
    return f"{audit.message} (audited on {audit.at[:10]})"


def describe_traffic(traffic: ModelTraffic | None) -> str:
    """Describe the requests of a time, or since the servers started, with errors."""
    if traffic is None:
        return "not known"
    span = "since the servers started" if traffic.seconds is None else f"in {traffic.seconds:.0f} s"
    rate = "" if traffic.per_s is None else f"{formatting.format_number(traffic.per_s)} requests/s; "
    errors = f"{traffic.errors:,} errors" if traffic.errors != 1 else "1 error"
    return f"{rate}{traffic.requests:,} requests {span}, {errors}"


def describe_p99(traffic: ModelTraffic | None) -> str:
    """Describe the 99th percentile of the latency with the requests that it rests on."""
    if traffic is None:
        return "not known"
    if not traffic.requests:
        return "no requests"
    found = traffic.p99
    if found is None:
        return f"too few requests ({traffic.requests:,})"
    return f"{found} ({found.n_requests:,} requests)"


def status_lines(state: ModelState, traffic: ModelTraffic | None) -> list[str]:
    """Return the state of a model in five lines, and one each for feature views, certified answers and threats."""
    more = len(state.conditions) - 1
    reasons = f" ({more} more reason{'s' if more > 1 else ''}: --json)" if more > 0 else ""
    rollout = f"; rollout: {describe_rollout(state)}" if state.rollout else ""
    answering = any(not server.problem for server in state.servers)
    served = f"; {describe_traffic(traffic)}, p99 {describe_p99(traffic)}" if answering and traffic else ""
    command = f"  ({state.command})" if state.command else ""
    return [
        f"{state.name}: {STATE_MARKS[state.state]}. {state.sentence}{reasons}",
        f"  live     {describe_live(state)}{rollout}",
        f"  quality  {describe_watched(state)}; tickets: {describe_ticket(state)}",
        *([f"  values   {describe_values(state)}"] if state.views else []),
        *([f"  answers  {describe_certificate(state.certificate)}"] if state.certificate else []),
        *([f"  threats  {describe_threats(state.threats)}"] if state.threats else []),
        f"  servers  {describe_servers(state)}{served}",
        f"  next     {state.next_step}{command}",
    ]


def live_parts(state: ModelState, traffic: ModelTraffic | None) -> dict[str, Line]:
    """Return the lines of a page that change while it is open, by the name of their place."""
    return {
        "state": Line(text=STATE_MARKS[state.state], style=STATE_STYLES[state.state]),
        "sentence": Line(text=state.sentence),
        "next": Line(text=state.next_step),
        "live": Line(text=describe_live(state)),
        "rollout": Line(text=describe_rollout(state) or "none is running"),
        "watched": Line(text=describe_watched(state)),
        "tickets": Line(text=describe_ticket(state)),
        "traffic": Line(text=describe_traffic(traffic)),
        "p99": Line(text=describe_p99(traffic)),
        "servers": Line(text=describe_servers(state)),
        "data": Line(text=describe_data(state.data)),
        **({"values": Line(text=describe_values(state))} if state.views else {}),
        **({"answers": Line(text=describe_certificate(state.certificate))} if state.certificate else {}),
        **({"threats": Line(text=describe_threats(state.threats))} if state.threats else {}),
    }
