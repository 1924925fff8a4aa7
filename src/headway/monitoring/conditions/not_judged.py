"""No period of the live model can be judged for some time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from headway.core.monitoring import MonitoringReport
from headway.monitoring.condition import AlertCondition, ConditionState, Facts, nothing_judged
from headway.monitoring.settings.alert import AlertRule
from headway.monitoring.settings.schedule import ScheduleSection


def _judge(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether it holds now; None if that cannot be judged."""
    if not facts.reports:
        return _never_judged(facts, rule)
    last = facts.reports[-1]
    unjudged = 0
    for report in reversed(facts.reports):
        if report.status != "unknown":
            break
        unjudged += 1
    unjudged += 0 if facts.is_replay else _missing_periods(last, facts.now)
    reasons = "; ".join(dict.fromkeys(part.message for part in last.unknown)) if last.status == "unknown" else ""
    more = f": {reasons}" if reasons else ""
    if unjudged < rule.periods:
        summary = f"{last.period} was judged" if not unjudged else f"{last.period} cannot be judged{more}"
        return ConditionState(is_firing=False, summary=summary, release=facts.release)
    periods = "1 period" if unjudged == 1 else f"{unjudged} periods in a row"
    return ConditionState(
        is_firing=True,
        summary=f"the model cannot be judged for {periods}, the last with a report is {last.period}{more}",
        subject=facts.release,
        release=facts.release,
    )


def _never_judged(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether a release is live for so many periods, of the schedule's length, without any report."""
    live, length = facts.live, _length_of(facts.project.config[ScheduleSection].window)
    if not (live and facts.release and length) or facts.is_replay:
        return nothing_judged(facts)
    unjudged = (facts.now - datetime.fromisoformat(live.at)) // length - 1
    if unjudged < rule.periods:
        return nothing_judged(facts)
    return ConditionState(
        is_firing=True,
        summary=f"the release is live since {live.at[:10]}, and no period of it was judged",
        subject=facts.release,
        release=facts.release,
    )


_UNITS_D = {"h": 1 / 24, "d": 1.0, "w": 7.0, "mo": 30.5, "q": 91.5, "y": 365.25}


def _length_of(window: str) -> timedelta | None:
    """Return the length of a period such as 1mo, about; None for what is not known."""
    found = re.fullmatch(r"([1-9]\d{0,3})([a-z]+)", window)
    unit = _UNITS_D.get(found[2]) if found else None
    return timedelta(days=int(found[1]) * unit) if found and unit else None


def _missing_periods(last: MonitoringReport, now: datetime) -> int:
    """Return how many periods of the log ended since the last report without one, beyond the one that just ended."""
    since, until = (datetime.fromisoformat(time) for time in (last.since, last.until))
    length = until - since
    if last.source != "log" or length <= timedelta(0):
        return 0
    return max(0, (now.astimezone(UTC).replace(tzinfo=None) - until.replace(tzinfo=None)) // length - 1)


plugin = AlertCondition(title="The model cannot be judged", judge=_judge, order=30)
