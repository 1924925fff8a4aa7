"""Edge or cloud: where the model should run, what that costs, and what would change the answer."""

from __future__ import annotations

from headway.reporting.charts._plan import draw_plan
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text.plan import plan_lines, tabulate_plan


def plugin(report: ReportData) -> Section | None:
    """Return the section on the deployment plan; None where there is none."""
    plan = report.plan
    if plan is None:
        return None
    return Section(
        title="Edge or cloud?",
        order=14,
        prefixes=(),
        lead="Response times were simulated from measured service times and networks, at the demand of the plan.",
        conclusions=tuple(line.plain for line in plan_lines(plan)),
        table=tabulate_plan(plan),
        picture=lambda: draw_plan(plan),
    )
