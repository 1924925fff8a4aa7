"""Features of views: what each costs and is worth, its gaps, age and drift, and which to remove."""

from __future__ import annotations

from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text.feature_tables import feature_sentences, tabulate_features
from headway.reporting.text.formatting import format_time


def plugin(report: ReportData) -> Section | None:
    """Return the section on cost and worth of the features; None where they were not measured."""
    found = report.features
    if found is None:
        return None
    return Section(
        title="Cost and worth of the features",
        order=48,
        prefixes=(),
        lead="What each feature of a view costs when a request looks it up, and how much the error on the validation "
        f"period rises if it is missing. Measured on {format_time(found.at)} of the live release; shares and ages are "
        f"those of {found.n_logged:,} logged rows.",
        conclusions=feature_sentences(found),
        table=tabulate_features(found),
    )
