"""Assessment of threats in words and tables: for the terminal, the report and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from headway.core.record import Record
from headway.core.threats import (
    AcceptedRisk,
    Coverage,
    MissingEvidence,
    ReopenCode,
    RequirementCoverage,
    ThreatAssessment,
    ThreatResult,
    Topic,
    TrendPoint,
)
from headway.reporting.text import formatting
from headway.reporting.text.tables import Cell, Line, Style, Table, make_table, text_cell

QUESTIONS: Mapping[Topic, str] = {
    "evasion": "Can a caller fool it?",
    "extraction": "Can a caller copy it?",
    "privacy": "Does it give people in the data away?",
    "poisoning": "Were the data tampered with?",
    "supply chain": "Is it the model that was judged, and safe to open?",
    "access": "Who can reach it?",
    "availability": "Can a caller overload it, or run up its cost?",
    "monitoring": "Would anyone notice?",
    "accountability": "Is it known who decided what, and can it be undone?",
}
"""What a person asks of each topic."""
IT_DOES = "measured: it does"
MARKS: Mapping[Coverage, str] = {
    "covered": "✓ covered",
    "measured": f"✗ {IT_DOES}",
    "gap": "✗ gap",
    "not applicable": "– not applicable",
}
STYLES: Mapping[Coverage, Style] = {"covered": "pass", "measured": "fail", "gap": "fail", "not applicable": "quiet"}
REASONS: Mapping[ReopenCode, str] = {
    "model": "another model is live",
    "data": "the model rests on other data",
    "exposure": "others can reach it, or in another way",
    "catalogue": "the catalogue of threats is another one",
    "time": "the time of the last one is over",
}
LEAD = (
    "Two public catalogues, MITRE ATLAS and OWASP, list how models are attacked and what their owners should "
    "do. Each entry that fits this model was compared with what is stored of it: measurements, checks of the data, "
    "signatures, logs and settings. Covered means that there is recent evidence about this very model, and that "
    "what was measured keeps its rule. Measured means that it breaks its rule: the attack succeeds. Covered does not "
    "mean that no attack can succeed."
)
"""What the section of the report and the page of the dashboard say first."""
MAX_STEPS = 3


def describe_threats(assessment: ThreatAssessment) -> str:
    """Describe how many requirements are covered, when that was assessed, and when it is due again."""
    gaps, measured = assessment.count("gap"), assessment.count("measured")
    accepted = gaps + measured - len(assessment.open_gaps())
    first = len(assessment.open_gaps(level=1))
    named = [f"{first:,} of level 1", *([f"{accepted:,} accepted"] if accepted else [])]
    more = f" ({', '.join(named)})" if gaps or measured else ""
    harm = f"{measured:,} {IT_DOES}, " if measured else ""
    return (
        f"{assessment.count('covered'):,} covered, {harm}{_count(gaps, 'gap')}{more}, "
        f"{assessment.count('not applicable'):,} not applicable; assessed on {assessment.at[:10]}, "
        f"due by {assessment.due}"
    )


def threats_lines(result: ThreatResult) -> list[str]:
    """Return the assessment in lines: the counts, why it was opened, what became a gap, and the trend."""
    now = result.now
    lines = [f"{now.name}: {describe_threats(now)}"]
    if now.why:
        reasons = formatting.join_names([REASONS[code] for code in now.why])
        lines.append(f"  opened   assessment {now.number}, because {reasons}")
    if now.opened:
        lines.append(f"  new      a gap now, and none before: {', '.join(now.opened)}")
    lines += [f"  trend    {describe_trend(result.trend)}"] if len(result.trend) > 1 else []
    lines += [
        f"  accepted {risk.requirement} until {risk.until} by {risk.who}: {risk.reason}"
        for risk in result.accepted.values()
    ]
    return lines


def describe_trend(trend: Sequence[TrendPoint]) -> str:
    """Describe how coverage changed from the first assessment to the last."""
    first, last = trend[0], trend[-1]
    return (
        f"covered {first.covered:,} to {last.covered:,}, {IT_DOES} {first.measured:,} to {last.measured:,}, "
        f"gaps {first.gaps:,} to {last.gaps:,} since {first.at[:10]} "
        f"({len(trend):,} records)"
    )


def security_sentences(found: ThreatAssessment) -> tuple[str, ...]:
    """Return what an assessment found, in sentences for a person who does not write code."""
    return (*_counts(found), *_broken(found), *_strong(found), *_open(found), *_steps(found), _due(found))


def _counts(found: ThreatAssessment) -> list[str]:
    covered, measured, gaps = found.count("covered"), found.count("measured"), found.count("gap")
    other = found.count("not applicable")
    total = covered + measured + gaps
    lines = [
        f"Of {total:,} entries that apply, {covered:,} are covered, for {measured:,} it was measured that the attack "
        f"succeeds, and {gaps:,} are gaps."
        if measured
        else f"Of {total:,} entries that apply, {covered:,} are covered and {gaps:,} are gaps."
    ]
    if other:
        lines.append(f"{other:,} more do not apply, for example to a model that no other machine can reach.")
    accepted = gaps + measured - len(found.open_gaps())
    if accepted:
        lines.append(f"For {accepted:,} of the gaps a person accepted the risk for a time.")
    return lines


def _broken(assessment: ThreatAssessment) -> list[str]:
    """Return the questions to which a measurement is the answer, with its value and its rule."""
    return [
        f"{QUESTIONS[topic]} Measured: it does. {' '.join(f'{message}.' for message in messages)}"
        for topic in QUESTIONS
        if (messages := _harm_of(topic, assessment))
    ]


def _harm_of(topic: Topic, assessment: ThreatAssessment) -> list[str]:
    """Return what was measured of a topic that breaks its rule, each once: the value, and the limit."""
    rows = [row for row in assessment.requirements if row.topic == topic and row.coverage == "measured"]
    missing = (gap for row in rows for gap in row.missing if gap.code == "breaks its rule")
    return list(dict.fromkeys(gap.message for gap in missing))


def _strong(found: ThreatAssessment) -> list[str]:
    """Return the questions that are covered, without a gap; an accepted one is still a gap."""
    by_topic = {topic: {row.coverage for row in found.requirements if row.topic == topic} for topic in QUESTIONS}
    clear = [
        QUESTIONS[topic] for topic, rows in by_topic.items() if "covered" in rows and not rows & {"gap", "measured"}
    ]
    return [f"No gap is left in: {' '.join(clear)}"] if clear else []


def _open(found: ThreatAssessment) -> list[str]:
    basic = found.open_gaps(level=1)
    if not basic:
        accepted = any(row.coverage in ("gap", "measured") and row.level == 1 for row in found.requirements)
        return [
            "Of what every served model should have, only gaps that a person accepted are left."
            if accepted
            else "Nothing that every served model should have is missing."
        ]
    many = "is" if len(basic) == 1 else "are"
    return [f"{len(basic):,} of the gaps {many} in what every served model should have; they come first."]


def _steps(found: ThreatAssessment) -> list[str]:
    return [
        f"Next: {one.step.next_step} Type: {one.step.command} ({len(one.gaps):,} gaps wait for it)."
        for one in next_steps(found.open_gaps())[:MAX_STEPS]
    ]


def _due(found: ThreatAssessment) -> str:
    return f"This was assessed on {found.at[:10]}, and is due again by {found.due}, or when something changes."


def tabulate_topics(assessment: ThreatAssessment) -> Table:
    """Tabulate for each topic how many requirements are covered, measured to succeed or gaps, and the next step."""
    titles = ("Question", "Covered", "Measured: it does", "Gaps", "Not applicable", "Next step")
    rows = [_topic_row(topic, assessment) for topic in QUESTIONS]
    return make_table(titles, [row for row in rows if row], folds=("Question", "Measured: it does", "Next step"))


def _topic_row(topic: Topic, assessment: ThreatAssessment) -> tuple[Cell, ...]:
    rows = [row for row in assessment.requirements if row.topic == topic]
    if not rows:
        return ()
    counts = {kind: sum(row.coverage == kind for row in rows) for kind in MARKS}
    gaps = counts["gap"]
    step = next((found.step for found in next_steps(rows)), None)
    return (
        text_cell(QUESTIONS[topic], "strong"),
        text_cell(f"{counts['covered']:,}", "pass" if counts["covered"] else "quiet"),
        (
            Line(text=f"{counts['measured']:,}", style="fail" if counts["measured"] else "quiet"),
            *(Line(text=message, style="quiet") for message in _harm_of(topic, assessment)),
        ),
        text_cell(f"{gaps:,}", "fail" if gaps else "quiet"),
        text_cell(f"{counts['not applicable']:,}", "quiet"),
        (Line(text=step.next_step), Line(text=step.command, style="quiet")) if step else text_cell("none", "quiet"),
    )


class NextStep(Record, frozen=True, kw_only=True):
    """One command, what it is for, and the gaps that wait for it; `level` is the lowest of theirs."""

    step: MissingEvidence
    level: int
    gaps: tuple[str, ...]


def next_steps(rows: Sequence[RequirementCoverage]) -> list[NextStep]:
    """Return the next step of each open gap, once per command: the lowest level, and what most gaps wait for, first."""
    found: dict[str, NextStep] = {}
    for row in rows:
        for one in row.missing if row.is_open else ():
            key = one.message if one.code in ("contradicted", "breaks its rule", "no rule") else one.command
            known = found.get(key, NextStep(step=one, level=row.level, gaps=()))
            found[key] = replace(
                known, level=min(known.level, row.level), gaps=tuple(dict.fromkeys((*known.gaps, row.id)))
            )
    return sorted(found.values(), key=lambda step: (step.level, -len(step.gaps)))


def tabulate_steps(steps: Sequence[NextStep]) -> Table:
    """Tabulate next steps: what is missing, the command, and the gaps that wait for it."""
    titles = ("Next step", "Why", "Gaps that wait for it")
    rows = [
        (
            (Line(text=one.step.next_step), Line(text=one.step.command, style="quiet")),
            text_cell(one.step.message),
            text_cell(", ".join(one.gaps)),
        )
        for one in steps
    ]
    return make_table(titles, rows, folds=titles)


def tabulate_requirements(rows: Sequence[RequirementCoverage], accepted: Mapping[str, AcceptedRisk]) -> Table:
    """Tabulate requirements: id and level, what it is about, coverage, and the evidence or the next step."""
    titles = ("Requirement", "Level", "Threat or duty", "Coverage", "Evidence, or what is missing and the next step")
    cells = [
        (
            text_cell(row.id, "strong"),
            text_cell(f"{row.level}"),
            text_cell(row.title),
            _coverage(row, accepted),
            _basis(row),
        )
        for row in rows
    ]
    return make_table(titles, cells, folds=titles[2:])


def _coverage(row: RequirementCoverage, accepted: Mapping[str, AcceptedRisk]) -> Cell:
    risk = accepted.get(row.id) if row.accepted else None
    if risk is None:
        return text_cell(MARKS[row.coverage], STYLES[row.coverage])
    return text_cell(f"accepted until {risk.until} by {risk.who}", "undecided")


def _basis(row: RequirementCoverage) -> Cell:
    if row.coverage == "not applicable":
        return text_cell(row.reason, "quiet")
    missing = [
        line
        for one in row.missing
        for line in (Line(text=f"{one.message}. {one.next_step}"), Line(text=one.command, style="quiet"))
    ]
    found = [
        Line(text="; ".join(part for part in (one.message, _origin(one.at, one.record)) if part), style="quiet")
        for one in row.evidence
    ]
    return (*missing, *found)


def _origin(at: str, record: str) -> str:
    day = f"on {at[:10]}" if at else ""
    return ", ".join(part for part in (day, formatting.short_digest(record) if record else "") if part)


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
