"""Heavy work of the page of data that needs the report: charts of the last check, and the use of the data."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.dashboard.shown import DataUseView
from headway.dashboard.work.data import N_CHECKS
from headway.dashboard.work.labels import opened
from headway.monitoring.assessment.assess import AssessmentResult
from headway.registry.project import Project
from headway.reporting.charts import data_check
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.check_page import check_charts
from headway.reporting.read_report_data import read_data_use
from headway.reporting.sections.data_use import describe_data_use
from headway.reporting.text.tables import Table

WITH_VALUES = ("shifts",)
"""Charts whose bins can be values of rows."""


def show_charts(config: Config, *, rows: bool) -> list[tuple[RenderedChart, Table | None]]:
    """Return the charts of the last check, each with its numbers; without rights on rows, none that names values."""
    with opened(config) as project:
        stored = [saved.record for saved in project.recent(Assessment, limit=N_CHECKS)][::-1]
    if not stored:
        return []
    found = AssessmentResult(now=stored[-1], before=stored[-2] if len(stored) > 1 else None)
    numbers = data_check.tabulate_charts(found.now)
    charts = check_charts(found, stored)
    return [(chart, numbers.get(name)) for name, chart in charts.items() if rows or name not in WITH_VALUES]


def show_data_use(config: Config, *, rows: bool) -> DataUseView | None:
    """Return the use of the data, None if no target is declared."""
    with opened(config) as project:
        read = _read_by_model(project)
        use = read_data_use(project, read)
    if use is None:
        return None
    if not rows:  # findings quote values
        columns = (replace(column, personal="found" if column.personal else "") for column in use.columns)
        use = replace(use, columns=tuple(columns))
    section = describe_data_use(use)
    return DataUseView(lead=section.lead, conclusions=section.conclusions, columns=section.table, is_live=bool(read))


def _read_by_model(project: Project) -> tuple[str, ...]:
    """Return the columns that the live release reads; none if there is none."""
    try:
        return project.registry.resolve(f"{project.name}@live").release.variant.signature.names
    except HeadwayError:
        return ()
