"""Events after a release, oldest first: a sentence for readers who do not code, and details for engineers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.rollout import RolloutStatus
from headway.core.ticket import Reason, Ticket
from headway.core.verdict import RuleResult, Verdict
from headway.core.watch import MonitoringReport
from headway.reporting import periods
from headway.reporting.report_data import (
    DatedRetraining,
    Event,
    EventKind,
    EventStyle,
    LiveChange,
    MonitoringHistory,
    ReportData,
    RolloutSummary,
)
from headway.reporting.text import formatting, words

_REASONS: dict[Reason, str] = {
    "rows": "there is much more to learn from than when it was trained",
    "calibration": "its probabilities are shown to be further off than is allowed",
}
# What is shown to be harmed, by the names of `Watch.answers`.
_HARMS = {
    "roc_auc.change": "a change of AUC since it was judged of",
    "ece.split": "a calibration error, guarded against noise, of",
    "cost": "a cost a month, against when it was judged, of",
}
# Of each end of a rollout: what is said of it in a few words and in a sentence, its kind, and its mood.
_ENDS: dict[RolloutStatus, tuple[str, str, EventKind, EventStyle]] = {
    "rolled back": ("A new release was taken back{itself}", "{by} took it back", "taken back", "fail"),
    "promoted": ("Live now{name}", "every rule that could be measured was met, and {by} made it live", "live", "pass"),
    "running": ("A new release is on trial", "it is not decided yet", "other", "note"),
    "inconclusive": ("A new release was withdrawn", "nothing was shown in time, and it was withdrawn", "other", "note"),
}


def list_events(report: ReportData) -> tuple[Event, ...]:
    """Return the events of the report's monitoring history, oldest first."""
    if report.year is None:
        return ()
    year, groups = report.year, report.groups
    found = [
        *_watched(year.watches, groups),
        *((ticket.at, "", _ticket(ticket)) for ticket in year.tickets),
        *((learned.at, learned.retraining.search_result.at, _learned(learned, groups)) for learned in year.learned),
        *(
            (rollout_summary.at, rollout_summary.rollout.stage_at, _trial(rollout_summary, year))
            for rollout_summary in year.trials
        ),
        *((live_change.at, live_change.move.at, _turn(live_change, year)) for live_change in year.turns),
    ]
    return tuple(event for *_, event in sorted(found, key=lambda told: (_order(told[0]), told[1])))


def _order(at: str) -> str:
    """Return a sort key for a time; a month alone counts as its middle."""
    return at if len(at) > 7 else f"{at}-15T12"


def _watched(watches: Sequence[MonitoringReport], groups: str) -> Iterator[tuple[str, str, Event]]:
    """Yield one event per run of windows of a release with the same status; healthy windows are skipped."""
    judged = [watch for watch in watches if watch.is_complete]
    for (_, status, alarm), run in groupby(judged, key=lambda watch: (watch.release, watch.status, _alarm(watch))):
        seen = list(run)
        if status == "healthy":
            continue
        first, last = seen[0], seen[-1]
        told = last.message.removeprefix(f"{last.period}: ")
        labelled = f"; of {last.n_labeled:,} the outcome was known" if last.n_labeled else ""
        yield (
            first.until,
            "",
            Event(
                at=first.period,
                what=_finding(last),
                message=f"{_lately(seen)}{last.n_rows:,} rows were looked at{labelled}. {_ended(told)}{_shown(last)}",
                style="fail" if status == "degraded" else "note",
                kind="worse" if status == "degraded" else "drift" if alarm else "other",
                detail=" ".join(_numbers(each, groups) for each in seen),
            ),
        )


def _shown(watch: MonitoringReport) -> str:
    """Return the degradations that are shown, each with its interval, as a sentence."""
    harm = watch.reply("harm")
    names = harm.shown if harm else ()
    found = [(name, watch.cost if name == "cost" else watch.find(name)) for name in names]
    figures = [f"{_HARMS.get(name, words.measure_name(name))} {_plain(each)}" for name, each in found if each]
    return f" Shown by {' and '.join(figures)}." if figures else ""


def _plain(found: Measurement) -> str:
    """Format a measurement without its unit, which the words before it state."""
    return formatting.format_measurement(replace(found, unit=""))


def _alarm(watch: MonitoringReport) -> bool:
    return watch.drift is not None and watch.drift.alarm


def _finding(watch: MonitoringReport) -> str:
    alarm = _alarm(watch)
    if watch.status == "degraded":
        return (
            "Drift found, and it was worse than when it was judged" if alarm else "It was worse than when it was judged"
        )
    if watch.status == "unknown":
        return "Drift found; whether it was still right could not be said" if alarm else "Nothing could be said of it"
    if watch.answers and watch.reply("harm") is None:
        return "Drift found; whether it does harm was not judged yet"
    return "Drift found, and not shown to be worse"


def _lately(seen: Sequence[MonitoringReport]) -> str:
    """Return how often the same was seen, if more than once."""
    first, last = (periods.period_name(watch.period) for watch in (seen[0], seen[-1]))
    return f"Seen {len(seen)} times, from {first} to {last}. The last time, " if len(seen) > 1 else ""


def _numbers(watch: MonitoringReport, groups: str) -> str:
    """Return the figures of a window in one line."""
    named = [watch.find(name) for name in ("roc_auc", "ece", "brier")]
    parts = [f"{words.measure_symbol(each.name)} {formatting.format_measurement(each)}" for each in named if each]
    parts += [f"on {formatting.format_basis(each, groups)}" for each in named[:1] if each]
    if watch.cost is not None and formatting.has_interval(watch.cost):
        parts.append(f"cost a month against when judged {_plain(watch.cost)}")
    p = watch.drift.measurements if watch.drift else ()
    parts += [f"drift p {each.value:.2g}" for each in p if each.name == "drift.p" and not each.slice]
    return f"{periods.period_name(watch.period)}: {', '.join(parts)}; release {formatting.short_digest(watch.release)}."


def _ticket(ticket: Ticket) -> Event:
    why = ", and ".join(_REASONS[reason] for reason in ticket.reasons)
    acts = "headway acts on it by itself" if ticket.acts else "it waits for a person to act on it"
    return Event(
        at=ticket.at[:10],
        what="A ticket was opened: train it anew",
        message=f"{why[:1].upper()}{why[1:]}; {acts}.",
        kind="ticket",
        detail=f"{_ended(ticket.why)} Release {formatting.short_digest(ticket.release)}.",
    )


def _learned(learned: DatedRetraining, groups: str) -> Event:
    found = learned.retraining
    verdict = found.search_result.winner.verdict
    seen = [
        rule_result.measurement
        for rule_result in verdict.rule_results
        if rule_result.measurement and not rule_result.measurement.slice
    ]
    basis = f" Both were judged on the same {formatting.format_basis(seen[0], groups)}." if seen else ""
    took = f"{formatting.format_seconds(found.seconds)} in all; {found.search_result.winner.variant.name}."
    done = "Trained anew" if found.trainings else "Recalibrated"
    better = {"pass": "and shown to be better", "fail": "and not better", "undecided": "and not shown to be better"}
    return Event(
        at=learned.at[:10],
        what=f"{done}, {better[verdict.answer]}",
        message=f"{found.message[:1].upper()}{found.message[1:]}.{basis}",
        style="pass" if verdict.answer == "pass" else "note",
        kind="retrained",
        detail=f"{_ended(_rules(verdict))} {took}",
    )


def _trial(trial: RolloutSummary, year: MonitoringHistory) -> Event:
    rollout = trial.rollout
    name = year.names.get(rollout.release, "")
    by = trial.verdict.by if trial.verdict else "judge"
    what, does, kind, style = _ENDS[rollout.status]
    after = f"After {rollout.requests:,} requests, {rollout.of_release:,} of them with an answer of its own, "
    told = (_beside(trial, year), trial.note, f"{after}{does.format(by='the judge' if by == 'judge' else by)}")
    return Event(
        at=trial.at[:10],
        what=what.format(name=f": {name}" if name else "", itself=" by itself" if by == "judge" else ""),
        message=f"{' '.join(part for part in told if part)}{_reason(trial)}.",
        style=style,
        kind=kind,
        detail=f"{_ended(rollout.why)} Release {formatting.short_digest(rollout.release)}.",
    )


def _beside(trial: RolloutSummary, year: MonitoringHistory) -> str:
    """Return which share of callers a rollout served, and what it was for."""
    share = trial.rollout.current.share
    anew = any(trial.aim == each.message for each in year.retrained)
    subject = "The release trained anew" if anew else f"A new release ({trial.aim})" if trial.aim else "A new release"
    served = f"answered {share * 100:.4g} % of the callers" if share else "answered no caller but saw every request"
    return f"{subject} {served}, beside the live one."


def _reason(trial: RolloutSummary) -> str:
    """Return the broken rules that caused a rollback, with their figures."""
    rule_results = trial.verdict.rule_results if trial.verdict and trial.rollout.status == "rolled back" else ()
    broken = [
        _broken(rule_result, rule_result.measurement)
        for rule_result in rule_results
        if rule_result.answer == "fail" and rule_result.measurement
    ]
    return f": {'; '.join(broken)}" if broken else ""


def _broken(rule_result: RuleResult, found: Measurement) -> str:
    harm = words.describe_violation(rule_result.rule.measure)
    basis = f"{found.n_rows:,} answers of {found.n_groups:,} keys"
    figures = f"{formatting.format_measurement(found)} on {basis}, limit: {words.rule_limit(rule_result.rule)}"
    return f"{harm[:1].lower()}{harm[1:]} ({figures})"


def _turn(turn: LiveChange, year: MonitoringHistory) -> Event:
    move = turn.move
    name = year.names.get(move.release, "no release")
    again = " again" if turn.back else ""
    return Event(
        at=turn.at[:10],
        what=f"Live{again}: {name}",
        message=f"{move.who} made it live{again}: {_ended(move.why)}",
        kind="taken back" if turn.back else "live",
        detail=f"Move {move.number} of {move.name}@{move.pointer}, release {formatting.short_digest(move.release) or 'none'}.",
    )


def _rules(verdict: Verdict) -> str:
    return "; ".join(words.describe_rule_result(rule_result) for rule_result in verdict.rule_results) or verdict.why


def _ended(text: str) -> str:
    """Return a text as a sentence with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
