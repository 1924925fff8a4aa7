"""Security: which known attacks on the model and duties of its owner are covered by evidence, and what to do next."""

from __future__ import annotations

from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text.threats import LEAD, security_sentences, tabulate_topics


def plugin(report: ReportData) -> Section | None:
    """Return the section on security; None where the threats were not assessed."""
    if report.threats is None:
        return None
    return Section(
        title="Security",
        order=38,
        prefixes=(),
        lead=LEAD,
        conclusions=security_sentences(report.threats),
        table=tabulate_topics(report.threats),
    )
