"""Security: what attacks on the model found, what is covered by evidence, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headway.core.threats import Topic
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.sections.attack import fooled
from headway.reporting.sections.extraction import copied
from headway.reporting.sections.privacy import recognized
from headway.reporting.text.threats import LEAD, QUESTIONS, security_sentences, tabulate_topics

_AUDITED: Mapping[Topic, Callable[[ReportData], Sequence[str]]] = {
    "evasion": fooled,
    "extraction": copied,
    "privacy": recognized,
}
_SENTENCES = 2
"""Sentences on each question; sections of their own have the rest."""


def plugin(report: ReportData) -> Section | None:
    """Return the section on security; None where the threats were not assessed."""
    if report.threats is None:
        return None
    answers = (
        f"{QUESTIONS[topic]} {' '.join(describe(report)[:_SENTENCES]) or 'That was not measured.'}"
        for topic, describe in _AUDITED.items()
    )
    return Section(
        title="Security",
        order=38,
        prefixes=(),
        lead=LEAD,
        conclusions=(*answers, *security_sentences(report.threats)),
        table=tabulate_topics(report.threats),
    )
