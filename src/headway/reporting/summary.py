"""Summary at the top of a report: what is live, does it meet the policy, how much faster is it, what was rejected."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from headway.core.monitoring import MonitoringReport, MonitoringStatus
from headway.core.record import Record
from headway.core.variant import Variant
from headway.core.verdict import Answer, Verdict
from headway.reporting.report_data import RefusedVariant, Replay, ReportData
from headway.reporting.text import formatting, words

SummaryStyle = Answer | Literal["plain"]


class SummaryAnswer(Record, frozen=True, kw_only=True):
    """A reader's question, a short answer, and what the answer rests on."""

    question: str
    answer: str
    detail: str = ""
    style: SummaryStyle = "plain"


_STATUS: dict[MonitoringStatus, tuple[str, SummaryStyle]] = {
    "healthy": ("Yes: no degradation is shown", "pass"),
    "drifted": ("No degradation is shown, but the inputs have drifted", "plain"),
    "degraded": ("No: worse than in its evaluation", "fail"),
    "unknown": ("Unknown", "undecided"),
}


def summary_answers(report: ReportData) -> tuple[SummaryAnswer, ...]:
    """Return the answers that this report can give, in reading order."""
    answers = (
        _live(report),
        _healthy(report),
        _released(report),
        _meets_policy(report),
        _faster(report),
        _rejected(report.refused),
    )
    return tuple(answer for answer in answers if answer is not None)


def describe_replay(replay: Replay) -> str:
    """Describe the result of the replay over HTTP."""
    sent = (
        f"{replay.rows:,} rows of {formatting.period_name(replay.period)} were sent in {replay.requests:,} requests, "
        f"which took {formatting.format_seconds(replay.seconds)}"
    )
    if _is_altered(replay):
        return f"{sent}. {_alterations(replay)}."
    return f"{sent}. Every prediction equals that of the release in process, and no request failed."


def _seen(report: ReportData) -> MonitoringReport | None:
    """Return the last completed window, or the one that has begun where none is complete."""
    watches = report.year.watches if report.year else ()
    return next((watch for watch in reversed(watches) if watch.is_complete), watches[-1] if watches else None)


def _live(report: ReportData) -> SummaryAnswer | None:
    seen = _seen(report)
    if report.year is None or seen is None:
        return None
    name = report.year.names.get(seen.release, "a release")
    first = next(watch for watch in report.year.watches if watch.release == seen.release)
    detail = f"Monitored since {formatting.period_name(first.period)}. Release {formatting.short_digest(seen.release)}."
    return SummaryAnswer(question="What is live?", answer=f"{name[:1].upper()}{name[1:]}", detail=detail)


def _healthy(report: ReportData) -> SummaryAnswer | None:
    seen = _seen(report)
    if seen is None:
        return None
    answer, style = _STATUS[seen.status]
    labeled = f", {seen.n_labeled:,} of them labeled" if seen.n_labeled else ""
    parts = [f"In {formatting.period_name(seen.period)}, on {seen.n_rows:,} rows{labeled}."]
    error, cost = seen.find("ece"), seen.cost
    if error is not None and formatting.has_interval(error):
        parts.append(f"Calibration error {formatting.format_measurement(error)}.")
    if cost is not None and formatting.has_interval(cost):
        parts.append(f"Additional cost per month {formatting.format_measurement(replace(cost, unit=''))}.")
    return SummaryAnswer(question="Is it healthy?", answer=answer, detail=" ".join(parts), style=style)


def _released(report: ReportData) -> SummaryAnswer | None:
    if report.winner is None:
        return _nothing_released(report) if report.frontier else None
    name = report.winner.variant.name
    if report.release:
        key = f", signed with the key {formatting.short_digest(report.key)}" if report.key else ""
        detail = f"{_steps_of(report.winner.variant)} Release {formatting.short_digest(report.release)}{key}."
        question = "What was released first?" if _seen(report) else "What was released?"
        return SummaryAnswer(question=question, answer=name, detail=detail, style="pass")
    detail = f"{_steps_of(report.winner.variant)} It is not released."
    return SummaryAnswer(question="What was chosen?", answer=name, detail=detail)


def _steps_of(variant: Variant) -> str:
    if not variant.steps:
        return "The baseline, unchanged."
    return f"Steps: {', then '.join(map(str, variant.steps))}."


def _nothing_released(report: ReportData) -> SummaryAnswer:
    passing = sum(judged.verdict.answer == "pass" for judged in report.frontier)
    detail = (
        f"{passing} of {len(report.frontier)} variants meet every rule on the validation period."
        if passing
        else "No variant meets every rule of the policy."
    )
    return SummaryAnswer(question="What was released?", answer="Nothing was released", detail=detail, style="undecided")


def _meets_policy(report: ReportData) -> SummaryAnswer | None:
    if report.winner is None:
        return None
    verdict = report.winner.verdict
    count = len(verdict.rule_results)
    answers: dict[Answer, str] = {
        "pass": f"Yes: all {count} rules pass" if count > 1 else "Yes: its rule passes",
        "fail": "No: a rule fails",
        "undecided": "Undecided",
    }
    parts = (_basis(verdict, report.groups), _over_http(report.replay) if report.replay else "")
    altered = report.replay is not None and _is_altered(report.replay)
    return SummaryAnswer(
        question="Did it meet the policy?" if _seen(report) else "Does it meet the policy?",
        answer="No: the served predictions differ" if altered else answers[verdict.answer],
        detail=" ".join(part for part in parts if part),
        style="fail" if altered else verdict.answer,
    )


def _basis(verdict: Verdict, groups: str) -> str:
    """Return how many rows the verdict rests on, or what speaks against the variant."""
    if verdict.answer != "pass":
        return " ".join(part for part in (_reason(verdict), _reused(verdict)) if part)
    seen = [
        rule_result.measurement
        for rule_result in verdict.rule_results
        if rule_result.measurement and not rule_result.measurement.slice
    ]
    if not seen:
        return ""
    largest = max(seen, key=lambda measurement: measurement.n_rows)
    rows = f"Evaluated on {formatting.format_basis(largest, groups)}"
    if verdict.test_evaluations > 1:
        return f"{rows} that were not used for training. {_reused(verdict)}"
    return f"{rows} that were not used for training or the search."


def _reused(verdict: Verdict) -> str:
    """Return a sentence on rows that were evaluated before: they make the figures optimistic."""
    count = verdict.test_evaluations
    return f"The test set was evaluated {count} times: test metrics are optimistic." if count > 1 else ""


def _reason(verdict: Verdict) -> str:
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
    word = "fail" if verdict.answer == "fail" else "are undecided"
    if len(broken) == 1:
        word = "fails" if verdict.answer == "fail" else "is undecided"
    return f"{sentence}. {len(broken)} of {len(verdict.rule_results)} rules {word}."


def _over_http(replay: Replay) -> str:
    if _is_altered(replay):
        return f"Over HTTP, {_alterations(replay)}."
    return f"Over HTTP, all {replay.rows:,} predictions of {formatting.period_name(replay.period)} were identical."


def _is_altered(replay: Replay) -> bool:
    return replay.mismatches + replay.failures > 0


def _alterations(replay: Replay) -> str:
    answers = f"{replay.mismatches:,} of {replay.rows:,} predictions differ from those of the release in process"
    requests = f"{replay.failures:,} of {replay.requests:,} requests failed"
    return " and ".join(text for text, count in ((answers, replay.mismatches), (requests, replay.failures)) if count)


def _faster(report: ReportData) -> SummaryAnswer | None:
    speedup, now = report.of_winner("latency.speedup"), report.of_winner("latency.one_row")
    if speedup is None:
        return None
    before = report.baseline.evidence.find("latency.one_row") if report.baseline else None
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


def _rejected(wrong: RefusedVariant | None) -> SummaryAnswer | None:
    if wrong is None:
        return None
    verdict = wrong.judged.verdict
    if verdict.answer == "pass":
        answer = f"No: “{wrong.title}” passed"
        return SummaryAnswer(question="Was the wrong variant rejected?", answer=answer, style="fail")
    return SummaryAnswer(
        question="What was rejected?", answer=wrong.title, detail=_reason(verdict), style=verdict.answer
    )
