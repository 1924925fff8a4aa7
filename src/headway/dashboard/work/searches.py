"""Heavy work of the page of searches: the frontier of one, and two models compared point by point."""

from __future__ import annotations

from headway import pipeline
from headway.core.config import Config
from headway.dashboard.shown import ComparisonShown, Picture
from headway.dashboard.work.labels import opened
from headway.data.settings.policy import PolicySection
from headway.registry.searches import read_search
from headway.reporting.charts.compared import draw_calibration, draw_call_times
from headway.reporting.charts.pareto import draw_pareto, pareto_conclusions
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.text import tables

CALLS_S = 2.0
N_EXAMPLES = 20


def frontier(config: Config, digest: str) -> tuple[Picture | None, tuple[str, ...]]:
    """Draw the frontier of a search, and say what its intervals support."""
    with opened(config) as project:
        found = read_search(project, digest)
    report = ReportData(title=found.name, frontier=found.evaluated, reasons=found.reasons, winner=found.winner)
    return picture_of(draw_pareto(report, interactive=True)), pareto_conclusions(report)


def compare(config: Config, digest: str, first: str, second: str, period: str, *, with_rows: bool) -> ComparisonShown:
    """Return what the page of a comparison shows; rows only if the person may see them."""
    with opened(config) as project:
        found = pipeline.compare_points(
            project,
            read_search(project, digest),
            pipeline.periods(project),
            first,
            second,
            period=period,
            n_examples=N_EXAMPLES if with_rows else 0,
            seconds=CALLS_S,
        )
    min_rows = config[PolicySection].slice_rows
    return ComparisonShown(
        first=found.first.name,
        second=found.second.name,
        n_rows=found.n_rows,
        n_groups=found.n_groups,
        measures=tables.tabulate_compared(found),
        flips=tables.tabulate_flips(found, min_rows=min_rows),
        slices=tables.tabulate_compared_slices(found, min_rows=min_rows),
        speeds=tables.tabulate_speeds(found),
        privacy=tables.tabulate_compared_privacy(found),
        bins=tables.tabulate_reliability_pair(found),
        calibration=picture_of(draw_calibration(found)),
        times=picture_of(draw_call_times(found, interactive=True)),
        busy=found.times.busy,
        examples=tables.tabulate_examples(found),
        cautions=found.cautions,
        missing=tuple(finding.message for finding in found.findings),
        min_rows=min_rows,
    )


def picture_of(chart: RenderedChart | None) -> Picture | None:
    """Return a chart as pages embed it."""
    if chart is None:
        return None
    return Picture(
        title=chart.title,
        alt=chart.alt,
        reading=chart.reading,
        wide=chart.wide,
        narrow=chart.narrow,
        wide_spec=chart.wide_spec,
        narrow_spec=chart.narrow_spec,
    )
