"""The gate as Markdown: the body of a comment on a pull request, and the summary of a step."""

from __future__ import annotations

from headway.reporting.gates import case as cases
from headway.reporting.gates.case import Case
from headway.reporting.text import sheets
from headway.reporting.text.markdown import escaped, table


def report(case: Case) -> str:
    """The Markdown of a case: the answer, why, the winner, a table of rules, and how often the rows were looked at."""
    verdict = case.verdict
    warning = cases.warning(verdict)
    parts = (
        f"## headway gate on {escaped(case.project)}: {sheets.MARKS[verdict.answer]}",
        f"Why: {escaped(cases.reason(verdict))}.",
        f"Winner: {escaped(cases.faster(case))}.",
        table(sheets.rulings(verdict)).rstrip("\n") if verdict.rulings else "",
        f"**Warning:** {escaped(warning)}." if warning else "",
        f"It was {escaped(cases.judged_on(case))}; {cases.looks(verdict)}.",
    )
    return "\n\n".join(part for part in parts if part) + "\n"
