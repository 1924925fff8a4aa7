"""Events after a release, oldest first: a sentence for readers who do not code, and details for engineers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec.structs import replace

from headway.core.errors import StoreError
from headway.core.evidence import Measurement
from headway.core.measure import main_measures_among
from headway.core.monitoring import MonitoringReport, Reason, Ticket
from headway.core.record import StoredRecord, digest_of, write
from headway.core.rollout import RolloutStatus
from headway.core.selective import CertificateWithdrawal
from headway.core.verdict import RuleResult, Verdict
from headway.monitoring.bias import describe_gap
from headway.monitoring.degradation import HARMFUL
from headway.registry.rollout import describe_rollout_traffic
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
    "rows": "there are many more rows to train on than when it was trained",
    "calibration": "its calibration error is shown to be above the limit",
    "certificate": "people found more wrong answers than its certificate allows",
    "inputs": "an input was out of its range, and its feed is to be repaired",
}
# What is shown to be degraded, by the names in `MonitoringAnswer.shown`.
_DEGRADATIONS = {
    "roc_auc.change": "a change of the AUC since the evaluation of",
    "accuracy.change": "a change of the accuracy since the evaluation of",
    "macro_f1.change": "a change of macro F1 since the evaluation of",
    "log_loss.change": "a change of the log loss since the evaluation of",
    "ece.split": "a calibration error (corrected for noise) of",
    "cost": "an additional cost per month of",
}
# Each status of a rollout: title, clause, kind and style of its event.
_ROLLOUTS: dict[RolloutStatus, tuple[str, str, EventKind, EventStyle]] = {
    "rolled back": ("A release was rolled back{automatically}", "{by} rolled it back", "rolled back", "fail"),
    "promoted": ("Live now{name}", "it met every rule that could be measured, and {by} made it live", "live", "pass"),
    "running": ("A release is being rolled out", "it is undecided", "other", "note"),
    "inconclusive": ("A release was withdrawn", "nothing was shown in time, and it was withdrawn", "other", "note"),
}


def list_events(report: ReportData) -> tuple[Event, ...]:
    """Return the events of the report's monitoring history, oldest first."""
    if report.year is None:
        return ()
    year, groups = report.year, report.groups
    found = [
        *_status_events(year.watches, groups),
        *((ticket.at, "", _ticket_event(ticket)) for ticket in year.tickets),
        *(
            (dated.at, dated.retraining.search_result.at, _retraining_event(dated, groups))
            for dated in year.retrainings
        ),
        *((summary.at, summary.rollout.stage_at, _rollout_event(summary, year)) for summary in year.rollouts),
        *((change.at, change.move.at, _live_event(change, year)) for change in year.live_changes),
        *((withdrawal.at, withdrawal.at, _withdrawal_event(withdrawal, year)) for withdrawal in year.withdrawals),
    ]
    return tuple(event for *_, event in sorted(found, key=lambda dated: (_sort_key(dated[0]), dated[1])))


def _sort_key(at: str) -> str:
    """Return a sort key for a time; a month alone counts as its middle."""
    return at if len(at) > 7 else f"{at}-15T12"


def _status_events(watches: Sequence[MonitoringReport], groups: str) -> Iterator[tuple[str, str, Event]]:
    """Yield one event per run of windows of a release with the same status; healthy windows are skipped."""
    complete = [watch for watch in watches if watch.is_complete]
    for (_, status, alarm), run in groupby(complete, key=lambda watch: (watch.release, watch.status, _alarm(watch))):
        seen = list(run)
        first, last = seen[0], seen[-1]
        if first.recovered_from:
            yield first.until, "", _recovery_event(first, groups)
        if status == "healthy":
            continue
        labeled = f", {last.n_labeled:,} of them labeled" if last.n_labeled else ""
        yield (
            first.until,
            "",
            Event(
                at=first.period,
                what=_status_title(last),
                message=f"{_repeated(seen)}{last.n_rows:,} rows{labeled}. {last.message}{_shown(last)}",
                style="fail" if status == "degraded" else "note",
                kind="worse" if status == "degraded" else "drift" if alarm else "other",
                detail=" ".join(_figures(watch, groups) for watch in seen),
                record=_digest(last),
            ),
        )


def _recovery_event(watch: MonitoringReport, groups: str) -> Event:
    degraded = formatting.period_name(watch.recovered_from)
    return Event(
        at=watch.period,
        what=f"Recovered: the degradation of {degraded} is shown no more",
        message=f"{watch.n_rows:,} rows, {watch.n_labeled:,} of them labeled. {watch.message}",
        style="pass",
        kind="recovered",
        detail=_figures(watch, groups),
        record=_digest(watch),
    )


def _shown(watch: MonitoringReport) -> str:
    """Return the degradations that are shown, each with its interval, as a sentence."""
    harm = watch.reply("degradation")
    names = harm.shown if harm else ()
    found = [(name, watch.cost if name == "cost" else watch.find(name)) for name in names]
    units = {"cost": f" {words.COST_UNIT}"}
    figures = [
        f"{_DEGRADATIONS.get(name, words.measure_name(name))} {_plain(seen)}{units.get(name, '')}"
        for name, seen in found
        if seen
    ]
    gaps = [f" {_sentence(describe_gap(gap))}" for gap in watch.bias if gap.direction in HARMFUL]
    return (f" Shown by {' and '.join(figures)}." if figures else "") + "".join(gaps)


def _plain(found: Measurement) -> str:
    """Format a measurement without its unit, which the words before it state."""
    return formatting.format_measurement(replace(found, unit=""))


def _alarm(watch: MonitoringReport) -> bool:
    return watch.drift is not None and watch.drift.alarm


def _status_title(watch: MonitoringReport) -> str:
    if watch.status == "degraded":
        return "Drift and degradation found" if _alarm(watch) else "Degradation found"
    if watch.status == "unknown":
        return "Drift found; the quality is unknown" if _alarm(watch) else "Status unknown"
    if watch.answers and watch.reply("degradation") is None:
        return "Drift found; its harm has not been tested yet"
    return "Drift found; no degradation is shown"


def _repeated(seen: Sequence[MonitoringReport]) -> str:
    """Return how often the same status was found, if more than once."""
    first, last = (formatting.period_name(watch.period) for watch in (seen[0], seen[-1]))
    return f"In {len(seen)} periods, from {first} to {last}. The last one: " if len(seen) > 1 else ""


def _figures(watch: MonitoringReport, groups: str) -> str:
    """Return the figures of a window in one line."""
    names = main_measures_among({measurement.name for measurement in watch.quality})[:3]
    measured = [measurement for name in names if (measurement := watch.find(name))]
    parts = [f"{words.measure_symbol(of_all.name)} {formatting.format_measurement(of_all)}" for of_all in measured]
    if area := watch.find("roc_auc"):
        parts.append(f"on {formatting.format_basis(area, groups)}")
    if watch.cost is not None and formatting.has_interval(watch.cost):
        parts.append(f"additional cost per month {_plain(watch.cost)} {words.COST_UNIT}")
    for measurement in watch.drift.measurements if watch.drift else ():
        if measurement.name == "drift.p" and not measurement.slice:
            parts.append(f"drift p {measurement.value:.2g}")
    period = formatting.period_name(watch.period)
    return f"{period}: {', '.join(parts)}; release {formatting.short_digest(watch.release)}."


def _ticket_event(ticket: Ticket) -> Event:
    why = ", and ".join(_REASONS[reason] for reason in ticket.reasons)
    acts = "headway retrains automatically" if ticket.acts else "a person has to start the retraining"
    return Event(
        at=ticket.at[:10],
        what="A ticket proposes to retrain" if why else "A ticket was closed",
        message=f"{why[:1].upper()}{why[1:]}; {acts}." if why else "The inputs that were broken are repaired.",
        kind="ticket",
        detail=f"{_sentence(ticket.message)} Release {formatting.short_digest(ticket.release)}.",
        record=_digest(ticket),
    )


def _retraining_event(dated: DatedRetraining, groups: str) -> Event:
    found = dated.retraining
    verdict = found.search_result.winner.verdict
    seen = [
        rule_result.measurement
        for rule_result in verdict.rule_results
        if rule_result.measurement and not rule_result.measurement.slice
    ]
    basis = f" Both were evaluated on the same {formatting.format_basis(seen[0], groups)}." if seen else ""
    took = f"{formatting.format_seconds(found.seconds)} in total; {found.search_result.winner.variant.name}."
    done = "Retrained" if found.trainings else "Recalibrated"
    better = {"pass": "shown to be better", "fail": "not better", "undecided": "not shown to be better"}
    return Event(
        at=dated.at[:10],
        what=f"{done}: {better[verdict.answer]}",
        message=f"{_sentence(found.message)}{basis}",
        style="pass" if verdict.answer == "pass" else "note",
        kind="retrained",
        detail=f"{_sentence(_rules(verdict))} {took}",
        record=_digest(found),
    )


def _rollout_event(summary: RolloutSummary, year: MonitoringHistory) -> Event:
    rollout = summary.rollout
    name = year.names.get(rollout.release, "")
    by = summary.verdict.by if summary.verdict else "judge"
    what, clause, kind, style = _ROLLOUTS[rollout.status]
    decided = f"{clause.format(by='the judge' if by == 'judge' else by)}{_broken_rules(summary)}"
    decision = _sentence(f"{describe_rollout_traffic(summary.traffic)}; {decided}")
    return Event(
        at=summary.at[:10],
        what=what.format(name=f": {name}" if name else "", automatically=" automatically" if by == "judge" else ""),
        message=" ".join(part for part in (_traffic(summary, year), summary.note, decision) if part),
        style=style,
        kind=kind,
        detail=f"{_sentence(rollout.why)} Release {formatting.short_digest(rollout.release)}.",
        record=_digest(rollout),
    )


def _traffic(summary: RolloutSummary, year: MonitoringHistory) -> str:
    """Return which share of callers a rollout served, and what it was for."""
    share, release = summary.rollout.current.share, summary.rollout.release
    retraining = next((retraining for retraining in year.retrained if retraining.release == release), None)
    known = retraining is not None and retraining.message == summary.aim  # the event of the retraining states it
    purpose = f" ({summary.aim})" if summary.aim and not known else ""
    served = f"served {share * 100:.4g} % of the callers" if share else "ran in shadow mode on every request"
    return f"{'The retrained' if retraining else 'A new'} release{purpose} {served}."


def _broken_rules(summary: RolloutSummary) -> str:
    """Return the broken rules that caused a rollback, with their figures."""
    rolled_back = summary.verdict and summary.rollout.status == "rolled back"
    broken = [
        _broken_rule(rule_result, rule_result.measurement)
        for rule_result in (summary.verdict.rule_results if summary.verdict and rolled_back else ())
        if rule_result.answer == "fail" and rule_result.measurement
    ]
    return f": {'; '.join(broken)}" if broken else ""


def _broken_rule(rule_result: RuleResult, found: Measurement) -> str:
    violation = words.describe_violation(rule_result.rule.measure)
    basis = f"{found.n_rows:,} predictions of {found.n_groups:,} keys"
    figures = f"{formatting.format_measurement(found)} on {basis}, limit: {words.rule_limit(rule_result.rule)}"
    return f"{violation[:1].lower()}{violation[1:]} ({figures})"


def _live_event(change: LiveChange, year: MonitoringHistory) -> Event:
    move = change.move
    name = year.names.get(move.release, "no release")
    again = " again" if change.back else ""
    release = formatting.short_digest(move.release) or "none"
    return Event(
        at=change.at[:10],
        what=f"Live{again}: {name}",
        message=f"{move.who} made it live{again}: {_sentence(move.why)}",
        kind="rolled back" if change.back else "live",
        detail=f"Update {move.number} of {move.name}@{move.pointer}, release {release}.",
        record=move.verdict,
    )


def _withdrawal_event(withdrawal: CertificateWithdrawal, year: MonitoringHistory) -> Event:
    named = ", ".join(withdrawal.classes) or "every class"
    name = year.names.get(withdrawal.release, "the release")
    risk = withdrawal.risk
    return Event(
        at=withdrawal.at[:10],
        what=f"Answers withdrawn: {named}",
        message=_sentence(withdrawal.why),
        style="fail",
        detail=f"Certificate of {name} ({formatting.short_digest(withdrawal.release)}), withdrawn by {withdrawal.by}: "
        f"share of wrong answers {formatting.format_number(risk.value)} [{formatting.format_number(risk.low)}, "
        f"{formatting.format_number(risk.high)}] of {risk.n_rows:,} checked, limit "
        f"{formatting.format_number(withdrawal.limit)}, level {risk.level:.3g}.",
        record=_digest(withdrawal),
    )


def _digest(record: StoredRecord) -> str:
    """Return the digest of a record; empty for one that no store can hold."""
    try:
        return digest_of(write(record))
    except StoreError:
        return ""


def _rules(verdict: Verdict) -> str:
    return "; ".join(words.describe_rule_result(rule_result) for rule_result in verdict.rule_results) or verdict.why


def _sentence(text: str) -> str:
    """Return a text as a sentence with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
