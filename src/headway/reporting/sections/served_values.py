"""Served values of feature views: those that differ from what the requests should have seen."""

from __future__ import annotations

from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text.feature_tables import format_time_us, skew_sentences, tabulate_skews
from headway.reporting.text.formatting import format_time, join_names
from headway.reporting.text.tables import make_table

TITLE = "Served values of the features"
ORDER = 47


def plugin(report: ReportData) -> Section | None:
    """Return the section on the last value replay; None if the live release looks up no view."""
    views = report.live.views if report.live else ()
    found = report.value_replay
    if found is None:
        return _never(views) if views else None
    return Section(
        title=TITLE,
        order=ORDER,
        prefixes=(),
        lead="Value replay recomputes from the sources what each logged request should have seen at its time, and "
        f"compares it with what it saw. Done on {format_time(found.at)} for {found.n_rows:,} rows from "
        f"{format_time_us(found.since_us)} to {format_time_us(found.until_us)}.",
        conclusions=skew_sentences(found, report.features),
        table=tabulate_skews(found, report.features),
    )


def _never(views: tuple[str, ...]) -> Section:
    return Section(
        title=TITLE,
        order=ORDER,
        prefixes=(),
        lead=f"The live release looks up {join_names(views)}.",
        conclusions=(
            "Whether requests saw the values that they should have seen is not known: no replay was made yet. To make "
            "one: headway features replay.",
        ),
        table=make_table((), ()),
    )
