"""Summary at the top of a report: what is live, is it right, how much faster, what was refused."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from headway.core.record import Record
from headway.core.variant import Variant
from headway.core.verdict import Answer, Verdict
from headway.core.watch import MonitoringReport, MonitoringStatus
from headway.reporting import periods
from headway.reporting.report_data import RefusedVariant, Replay, ReportData
from headway.reporting.text import formatting, words

SummaryStyle = Answer | Literal["plain"]


class SummaryAnswer(Record, frozen=True, kw_only=True):
    """A reader's question, a short answer, and what the answer rests on."""

    question: str
    answer: str
    detail: str = ""
    style: SummaryStyle = "plain"


_WELL: dict[MonitoringStatus, tuple[str, SummaryStyle]] = {
    "healthy": ("Yes: no harm is shown", "pass"),
    "drifted": ("No harm is shown, but the inputs changed", "plain"),
    "degraded": ("No: worse than when it was judged", "fail"),
    "unknown": ("That cannot be said yet", "undecided"),
}


def summary_answers(report: ReportData) -> tuple[SummaryAnswer, ...]:
    """Return the answers that this report can give, in reading order."""
    given = (_now(report), _well(report), _live(report), _right(report), _faster(report), _refused(report.refused))
    return tuple(reply for reply in given if reply is not None)


def describe_replay(replay: Replay) -> str:
    """Describe what the replay over HTTP showed."""
    sent = (
        f"{replay.rows:,} rows of {periods.period_name(replay.period)} were sent in {replay.requests:,} requests, "
        f"which took {formatting.format_seconds(replay.seconds)}"
    )
    if _spoilt(replay):
        return f"{sent}. {_altered(replay)}."
    return f"{sent}. Every answer was the one that the release itself computes, and no request failed."


def _seen(report: ReportData) -> MonitoringReport | None:
    """Return the last completed window, or the one that has begun where none is complete."""
    watches = report.year.watches if report.year else ()
    return next((watch for watch in reversed(watches) if watch.is_complete), watches[-1] if watches else None)


def _now(report: ReportData) -> SummaryAnswer | None:
    seen = _seen(report)
    if report.year is None or seen is None:
        return None
    name = report.year.names.get(seen.release, "a release")
    first = next(watch for watch in report.year.watches if watch.release == seen.release)
    detail = f"Watched since {periods.period_name(first.period)}. Release {formatting.short_digest(seen.release)}."
    return SummaryAnswer(question="What is live?", answer=f"{name[:1].upper()}{name[1:]}", detail=detail)


def _well(report: ReportData) -> SummaryAnswer | None:
    seen = _seen(report)
    if seen is None:
        return None
    answer, style = _WELL[seen.status]
    known = f", {seen.n_labeled:,} with a known outcome" if seen.n_labeled else ""
    parts = [f"Seen in {periods.period_name(seen.period)} on {seen.n_rows:,} rows{known}."]
    error, cost = seen.find("ece"), seen.cost
    if error is not None and formatting.has_interval(error):
        parts.append(f"Its probabilities were off by {formatting.format_measurement(error)} on average.")
    if cost is not None and formatting.has_interval(cost):
        parts.append(f"Cost a month against when judged: {formatting.format_measurement(replace(cost, unit=''))}.")
    return SummaryAnswer(question="Is it well?", answer=answer, detail=" ".join(parts), style=style)


def _live(report: ReportData) -> SummaryAnswer | None:
    if report.winner is None:
        return _nothing_live(report) if report.frontier else None
    name = report.winner.variant.name
    if report.release:
        key = f", signed with the key {formatting.short_digest(report.key)}" if report.key else ""
        detail = f"{_made(report.winner.variant)} Release {formatting.short_digest(report.release)}{key}."
        first = "What was released first?" if _seen(report) else "What was released?"
        return SummaryAnswer(question=first, answer=name, detail=detail, style="pass")
    detail = f"{_made(report.winner.variant)} It is not released."
    return SummaryAnswer(question="What was chosen?", answer=name, detail=detail)


def _made(variant: Variant) -> str:
    if not variant.steps:
        return "The model as it came, unchanged."
    return f"The model as it came, in another form: {', then '.join(map(str, variant.steps))}."


def _nothing_live(report: ReportData) -> SummaryAnswer:
    passing = sum(judged.verdict.answer == "pass" for judged in report.frontier)
    detail = (
        f"{passing} of {len(report.frontier)} variants meet every rule on the period that the search looked at."
        if passing
        else "No variant meets every rule of the policy."
    )
    return SummaryAnswer(question="What was released?", answer="Nothing was released", detail=detail, style="undecided")


def _right(report: ReportData) -> SummaryAnswer | None:
    if report.winner is None:
        return None
    verdict = report.winner.verdict
    count = len(verdict.rule_results)
    answers: dict[Answer, str] = {
        "pass": f"Yes: it meets all {count} rules" if count > 1 else "Yes: it meets its rule",
        "fail": "No: it breaks a rule",
        "undecided": "Not shown yet",
    }
    parts = (_judged_on(verdict, report.groups), _over_http(report.replay) if report.replay else "")
    altered = report.replay is not None and _spoilt(report.replay)
    return SummaryAnswer(
        question="Was it right when judged?" if _seen(report) else "Is it right?",
        answer="No: it was not served as it was judged" if altered else answers[verdict.answer],
        detail=" ".join(part for part in parts if part),
        style="fail" if altered else verdict.answer,
    )


def _judged_on(verdict: Verdict, groups: str) -> str:
    """Return how many rows the verdict rests on, or what speaks against the variant."""
    if verdict.answer != "pass":
        return " ".join(part for part in (_against(verdict), _used_to_choose(verdict)) if part)
    seen = [
        rule_result.measurement
        for rule_result in verdict.rule_results
        if rule_result.measurement and not rule_result.measurement.slice
    ]
    if not seen:
        return ""
    most = max(seen, key=lambda measurement: measurement.n_rows)
    rows = f"Judged on {formatting.format_basis(most, groups)}"
    if verdict.test_evaluations > 1:
        chose = f"they were looked at {verdict.test_evaluations} times, so they were used to choose"
        return f"{rows} that the training had not seen; {chose}: their figures flatter what was chosen."
    return f"{rows} that neither the training nor the search had seen."


def _used_to_choose(verdict: Verdict) -> str:
    """Return a sentence on rows that were evaluated before: they make the figures optimistic."""
    count = verdict.test_evaluations
    return f"Its rows were looked at {count} times, so they were used to choose." if count > 1 else ""


def _against(verdict: Verdict) -> str:
    """Return the first rule that is broken or undecided, with numbers, and how many there are."""
    broken = [rule_result for rule_result in verdict.rule_results if rule_result.answer == verdict.answer]
    if not broken:
        return verdict.why
    first = broken[0]
    message = words.describe_rule_result(first)
    sentence = (
        f"{words.describe_violation(first.rule.measure)}: {message}"
        if first.answer == "fail"
        else f"{message[:1].upper()}{message[1:]}"
    )
    word = "broken" if verdict.answer == "fail" else "undecided"
    return (
        f"{sentence}. {len(broken)} of {len(verdict.rule_results)} rules {'is' if len(broken) == 1 else 'are'} {word}."
    )


def _over_http(replay: Replay) -> str:
    if _spoilt(replay):
        return f"Over HTTP, {_altered(replay)}."
    return f"Over HTTP all {replay.rows:,} answers of {periods.period_name(replay.period)} came back unaltered."


def _spoilt(replay: Replay) -> bool:
    return replay.mismatches + replay.failures > 0


def _altered(replay: Replay) -> str:
    answers = f"{replay.mismatches:,} of {replay.rows:,} answers were not those that the release itself computes"
    requests = f"{replay.failures:,} of {replay.requests:,} requests failed"
    return " and ".join(text for text, count in ((answers, replay.mismatches), (requests, replay.failures)) if count)


def _faster(report: ReportData) -> SummaryAnswer | None:
    speedup, now = report.of_winner("latency.speedup"), report.of_winner("latency.one_row")
    if speedup is None:
        return None
    before = report.origin.evidence.find("latency.one_row") if report.origin else None
    parts = [f"One row takes {formatting.format_measurement(now)}" if now else ""]
    parts += [f"instead of {formatting.format_measurement(before)}" if now and before else ""]
    batch = report.of_winner("throughput.speedup")
    text = " ".join(part for part in parts if part)
    text = f"{text}; in batches {formatting.format_measurement(batch)}" if batch and text else text
    return SummaryAnswer(
        question="How much faster?",
        answer=formatting.format_measurement(speedup),
        detail=text and f"{text}.",
        style="plain",
    )


def _refused(wrong: RefusedVariant | None) -> SummaryAnswer | None:
    if wrong is None:
        return None
    verdict = wrong.judged.verdict
    if verdict.answer == "pass":
        answer = f"No: the judge passed “{wrong.title}”"
        return SummaryAnswer(question="Was the wrong variant refused?", answer=answer, style="fail")
    return SummaryAnswer(
        question="What was refused?", answer=wrong.title, detail=_against(verdict), style=verdict.answer
    )
