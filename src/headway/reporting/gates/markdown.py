"""The gate as Markdown: the body of a comment on a pull request, and the summary of a step."""

from __future__ import annotations

from headway.reporting.gates import case as cases
from headway.reporting.gates.case import GateResult
from headway.reporting.text import sheets
from headway.reporting.text.markdown import escape_markdown, markdown_table


def gate_markdown(case: GateResult) -> str:
    """The Markdown of a case: the answer, why, the winner, a table of rules, and how often the rows were looked at."""
    verdict = case.verdict
    warning = cases.reuse_warning(verdict)
    parts = (
        f"## headway gate on {escape_markdown(case.project)}: {sheets.VERDICT_MARKS[verdict.answer]}",
        f"Why: {escape_markdown(cases.verdict_reason(verdict))}.",
        f"Winner: {escape_markdown(cases.describe_speed(case))}.",
        markdown_table(sheets.tabulate_rules(verdict)).rstrip("\n") if verdict.rule_results else "",
        f"**Warning:** {escape_markdown(warning)}." if warning else "",
        f"It was {escape_markdown(cases.describe_judged_rows(case))}; {cases.describe_evaluations(verdict)}.",
    )
    return "\n\n".join(part for part in parts if part) + "\n"
