"""Summary at the top of a report: what is live, does it meet the policy, how much faster is it, what was rejected."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from headway.core.evidence import AS_CALLED
from headway.core.monitoring import MonitoringReport, MonitoringStatus
from headway.core.record import Record
from headway.core.search_result import SearchResult
from headway.core.variant import Variant
from headway.core.verdict import Answer, Verdict
from headway.reporting.report_data import (
    RefusedVariant,
    ReleaseState,
    ReleaseStatus,
    Replay,
    ReportData,
    describe_end,
    describe_start,
)
from headway.reporting.text import formatting, words
from headway.reporting.text.speeds import (
    ONE_ROW_CPU,
    busy_finding,
    describe_costs,
    describe_search_speeds,
    describe_speeds,
    find_all,
    find_costs,
)
from headway.reporting.text.tables import VERDICT_MARKS

SummaryStyle = Answer | Literal["plain"]


class SummaryAnswer(Record, frozen=True, kw_only=True):
    """A reader's question, a short answer, and what the answer rests on."""

    question: str
    answer: str
    detail: str = ""
    style: SummaryStyle = "plain"


class OutcomeLine(Record, frozen=True, kw_only=True):
    """A line at the end of a search: its label and its text."""

    label: str
    text: str
    style: SummaryStyle = "plain"


OBJECTIVE = "latency.one_row"


def outcome_lines(
    search: SearchResult, *, next_command: str = "", command: str = "headway optimize", override_command: str = ""
) -> tuple[OutcomeLine, ...]:
    """Return the end of a search: the winner, what it gains, its quality, the verdict on it, and the next command.

    `next_command` follows a pass, `override_command` releases without one, and `command` is the search itself.
    """
    winner, verdict = search.winner, search.winner.verdict
    found: tuple[OutcomeLine, ...]
    if not search.improved:
        found = (
            OutcomeLine(label="Winner", text=f"none: {words.no_faster_variant(search)}"),
            OutcomeLine(
                label="Baseline",
                text=f"{VERDICT_MARKS[verdict.answer]}: {_verdict_text(verdict)}",
                style=verdict.answer,
            ),
        )
        if busy_finding([row.evidence for row in search.evaluated]):
            next_command = f"{command} --wait-quiet"
        elif search.suggested_budget_s:
            next_command = f"{command} --budget {search.suggested_budget_s:g}s"
    else:
        found = (
            OutcomeLine(
                label="Winner", text=winner.variant.name, style="pass" if verdict.answer == "pass" else "plain"
            ),
            OutcomeLine(label="Gains", text=_gains(search)),
            *_speed_lines(search),
            OutcomeLine(
                label="Verdict", text=f"{VERDICT_MARKS[verdict.answer]}: {_verdict_text(verdict)}", style=verdict.answer
            ),
        )
    if verdict.answer != "pass" and (search.improved or not search.suggested_budget_s):
        next_command = " or ".join(["more test rows", "another policy", *filter(None, [override_command])])
    unmet = [result for result in verdict.rule_results if result.answer != "pass"]
    if override_command and unmet and all(result.rule.private and result.measurement is None for result in unmet):
        next_command = f"{command.replace('optimize', 'evaluate', 1)}: it measures the privacy of the winner"
    quality = OutcomeLine(label="Quality", text=words.describe_quality(winner.evidence))
    searched = search.row(winner.variant.digest)
    costs = find_costs([winner.evidence, *([searched.evidence] if searched else [])])
    cost = OutcomeLine(label="Cost", text=f"A million predictions: {describe_costs(costs)}")
    warned = (finding.message for finding in winner.evidence.findings if finding.severity == "warn")
    warnings = (OutcomeLine(label="Warning", text=message, style="undecided") for message in warned)
    answers = (
        [] if search.answers is None else [OutcomeLine(label="Answers", text=words.describe_answers(search.answers))]
    )
    found = (*found[:-1], quality, cost, *answers, *warnings, found[-1])
    return (*found, *((OutcomeLine(label="Next", text=next_command),) if next_command else ()))


def _speed_lines(search: SearchResult) -> tuple[OutcomeLine, ...]:
    """Return each ratio with the baseline's call, or why there is none; nothing for a search that recorded no calls."""
    lines = describe_search_speeds(search, only_calls=True)
    return tuple(OutcomeLine(label="" if at else "Speed", text=line) for at, line in enumerate(lines))


def _gains(search: SearchResult) -> str:
    """Return how much faster the winner is, and how many decisions it changes."""
    row = search.row(search.winner.variant.digest) or search.winner
    speed = [
        f"{how} {formatting.format_ratio(found)} as fast as the baseline"
        for how, name in (("one row", "latency.speedup"), ("batches", "throughput.speedup"))
        if (found := row.evidence.find(name)) and formatting.has_interval(found)
    ]
    cpu = row.evidence.find(ONE_ROW_CPU)
    if not speed and cpu and formatting.has_interval(cpu):
        speed = [f"in CPU time one row {formatting.format_ratio(cpu)} as fast as the baseline"]
    now = row.evidence.find(OBJECTIVE)
    times = [f"one row takes {formatting.format_measurement(now)}"] if now else []
    churn = search.winner.evidence.find("decision_churn")
    if churn is None:
        changed = []
    elif churn.value == 0 and churn.high <= 0:
        changed = [f"no decision of {churn.n_rows:,} differs"]
    else:
        changed = [f"{formatting.format_measurement(churn)} of the decisions differ"]
    text = "; ".join([*speed, *times, *changed]) or "no ratio of speeds was measured"
    return f"{text[:1].upper()}{text[1:]}"


def _verdict_text(verdict: Verdict) -> str:
    """Return how many rules pass on the test rows, or each rule that does not."""
    count = len(verdict.rule_results)
    unmet = [result for result in verdict.rule_results if result.answer != "pass"]
    if not count:
        return verdict.why
    if verdict.overridden:
        return f"passed by {verdict.by}, not by the policy: {verdict.why}"
    if not unmet:
        return f"all {count} rules pass on the test rows" if count > 1 else "its rule passes on the test rows"
    shown = "; ".join(f"{result.answer}: {result.message}" for result in unmet)
    return f"{len(unmet)} of {count} rules {'do' if len(unmet) > 1 else 'does'} not pass. {shown}"


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
        _next(report),
        _before(report),
        _released(report),
        _meets_policy(report),
        _faster(report),
        _cost(report),
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
    """Return what is live, since when, and by whom; an override is named as such."""
    seen, state = _seen(report), live_release(report)
    if state is None and report.releases:
        return SummaryAnswer(question="What is live?", answer="Nothing is live", style="undecided")
    if state is not None:
        name = report.year.names.get(state.release, "") if report.year else ""
        style: SummaryStyle = "undecided" if state.answer == "override" else "plain"
        first = next(
            (one for one in (report.year.watches if report.year else ()) if one.release == state.release), None
        )
        watched = f" Monitored since {formatting.period_name(first.period)}." if first else ""
        named = f"{name[:1].upper()}{name[1:]}: {state.name}" if name else state.name
        detail = f"{describe_start(state)} Release {formatting.short_digest(state.release)}.{watched}"
        return SummaryAnswer(question="What is live?", answer=named, detail=detail, style=style)
    if report.year is None or seen is None:
        return None
    name = report.year.names.get(seen.release, "a release")
    watch = next(watch for watch in report.year.watches if watch.release == seen.release)
    detail = f"Monitored since {formatting.period_name(watch.period)}. Release {formatting.short_digest(seen.release)}."
    return SummaryAnswer(question="What is live?", answer=f"{name[:1].upper()}{name[1:]}", detail=detail)


def live_release(report: ReportData) -> ReleaseState | None:
    """Return the release that is live, None if none is or the report does not know it."""
    return next((state for state in report.releases if state.status == "live"), None)


_STATES: dict[ReleaseStatus, str] = {
    "live": "live",
    "before": "before",
    "canary": "rolling out",
    "rolled back": "rolled back",
    "withdrawn": "withdrawn",
}
_STYLES: dict[ReleaseStatus, SummaryStyle] = {"rolled back": "fail", "withdrawn": "undecided", "canary": "undecided"}


def _others(report: ReportData) -> list[ReleaseState]:
    return [state for state in report.releases if state.status != "live"]


def _before(report: ReportData) -> SummaryAnswer | None:
    """Return the latest release next to the live one: replaced, or rolled back, which is never shown as a success."""
    others = _others(report)
    if not others:
        return None
    last = others[0]
    more = f" All {len(others)} are listed below." if len(others) > 1 else ""
    return SummaryAnswer(
        question="What is rolling out?" if last.status == "canary" else "What was released before?",
        answer=f"{last.name} ({_STATES[last.status]})",
        detail=f"{describe_start(last)} {describe_end(last)}".strip() + more,
        style=_STYLES.get(last.status, "undecided" if last.answer == "override" else "plain"),
    )


def _next(report: ReportData) -> SummaryAnswer | None:
    """Return the next command, as the last state asks for."""
    if not report.next_step:
        return None
    return SummaryAnswer(question="What is next?", answer=report.next_step, detail=report.next_reason)


def _healthy(report: ReportData) -> SummaryAnswer | None:
    seen = _seen(report)
    if seen is None:
        return None
    answer, style = _STATUS[seen.status]
    reply = seen.reply("degradation")
    if reply and reply.not_excluded and not reply.shown:
        answer = "Unknown: a large degradation is not excluded"
    labeled = f", {seen.n_labeled:,} of them labeled" if seen.n_labeled else ""
    parts = [f"In {formatting.period_name(seen.period)}, on {seen.n_rows:,} rows{labeled}."]
    if seen.recovered_from:
        parts.append(f"Recovered: the degradation of {formatting.period_name(seen.recovered_from)} is shown no more.")
    error, cost = seen.find("ece"), seen.cost
    if error is not None and formatting.has_interval(error):
        parts.append(f"Calibration error {formatting.format_measurement(error)}.")
    if cost is not None and formatting.has_interval(cost):
        amount = formatting.format_measurement(replace(cost, unit=""))
        parts.append(f"Additional cost per month {amount} {words.COST_UNIT}.")
    return SummaryAnswer(question="Is it healthy?", answer=answer, detail=" ".join(parts), style=style)


def _released(report: ReportData) -> SummaryAnswer | None:
    """Return what the last search chose; not where the release is named already as live, or as the one before."""
    if report.winner is None:
        return _nothing_released(report) if report.frontier and not report.releases else None
    name = report.winner.variant.name
    state = next((state for state in report.releases if state.release == report.release), None)
    if state is not None and (state.status == "live" or state == _others(report)[0]):
        return None
    if report.release:
        key = f", signed with the key {formatting.short_digest(report.key)}" if report.key else ""
        detail = f"{_steps_of(report.winner.variant)} Release {formatting.short_digest(report.release)}{key}."
        question = "What was released first?" if _seen(report) else "What was released?"
        if state is None:
            return SummaryAnswer(question=question, answer=name, detail=detail, style="pass")
        detail = f"{detail} {describe_start(state)} {describe_end(state)}".strip()
        return SummaryAnswer(question=question, answer=name, detail=detail, style=_STYLES.get(state.status, "plain"))
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
    override = _override(report)
    if override is not None:
        by = f"{override.by} released it on {formatting.format_time(override.at)}: {override.why.rstrip('.')}."
        unmet = [result for result in override.rule_results if result.answer != "pass"]
        rules = f"{len(unmet)} of {count} rules {'does' if len(unmet) == 1 else 'do'} not pass."
        reason = "; ".join(words.describe_rule_result(result) for result in unmet[:1])
        return SummaryAnswer(
            question=_policy_question(report),
            answer="No: released by an override",
            detail=f"{by} {rules} {reason[:1].upper()}{reason[1:]}.",
            style="fail" if any(result.answer == "fail" for result in unmet) else "undecided",
        )
    altered = report.replay is not None and _is_altered(report.replay)
    return SummaryAnswer(
        question=_policy_question(report),
        answer="No: the served predictions differ" if altered else answers[verdict.answer],
        detail=" ".join(part for part in parts if part),
        style="fail" if altered else verdict.answer,
    )


def _policy_question(report: ReportData) -> str:
    """Return the question on the verdict; next to other releases it names the one that the verdict is on."""
    live = live_release(report)
    if live is not None and live.release != report.release:
        return f"Did the {'release of the last search' if report.release else 'last winner'} meet the policy?"
    return "Did it meet the policy?" if _seen(report) else "Does it meet the policy?"


def _override(report: ReportData) -> Verdict | None:
    """Return the verdict of a person who released the winner against the judge, or None."""
    made = next((state.verdict for state in report.releases if state.release == report.release), None)
    own = report.winner.verdict if report.winner else None
    return next((verdict for verdict in (made, own) if verdict is not None and verdict.overridden), None)


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
    if speedup is None or not formatting.has_interval(speedup):
        return _not_timed(report)
    batch = report.of_winner("throughput.speedup")
    text = f"One row takes {formatting.format_measurement(now)}" if now else ""
    text = f"{text}; in batches {formatting.format_measurement(batch)}" if batch and text else text
    called = next(filter(formatting.has_interval, find_all(report.winner_evidence(), AS_CALLED)), None)
    if called is not None:
        against = f" (against {called.baseline})" if called.baseline else ""
        engines = f"Engine against engine, {formatting.format_measurement(speedup)}"
        text = ". ".join(part for part in (f"As you call it{against}", engines, text) if part)
    return SummaryAnswer(
        question="How much faster?",
        answer=formatting.format_measurement(called or speedup),
        detail=text and f"{text}.",
        style="plain",
    )


def _cost(report: ReportData) -> SummaryAnswer | None:
    """Return what a million predictions cost: the price if one is declared, else CPU time."""
    found = find_costs(report.winner_evidence())
    main = next((seen for name in _MAIN_COSTS for seen in found if seen.name == name), None)
    if main is None:
        return None
    what = " of CPU time" if main.unit == "s" else ""
    return SummaryAnswer(
        question="What do a million predictions cost?",
        answer=f"{formatting.format_measurement(main)}{what}",
        detail=f"Asked {describe_costs(found)}. Of the model alone, without a server.",
    )


_MAIN_COSTS = ("cost.per_million.one_row", "cost.cpu_s.one_row")


def _not_timed(report: ReportData) -> SummaryAnswer | None:
    """Return why no speedup is shown: the machine was busy, or the rounds were too few; None if nothing was timed."""
    lines = describe_speeds(report.winner_evidence())
    if not lines:
        return None
    detail = ". ".join(f"{line[:1].upper()}{line[1:]}" for line in lines)
    return SummaryAnswer(question="How much faster?", answer="Not measured", detail=f"{detail}.", style="undecided")


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
