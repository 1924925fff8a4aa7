"""The gate for a person: a table of rules, and sentences on the winner and on looks at the test set."""

from __future__ import annotations

import io

from rich.console import Console, Group
from rich.text import Text

from headway.reporting.gates import case as cases
from headway.reporting.gates.case import GateResult
from headway.reporting.text.one_line import one_line
from headway.reporting.text.sheets import VERDICT_MARKS
from headway.reporting.text.tables import render_rules

WIDTH = 200
"""Letters of a line where no terminal says how many there are."""


def render_gate(case: GateResult) -> Group:
    """The report as a terminal lays it out, at the width it has."""
    verdict = case.verdict
    warning = cases.reuse_warning(verdict)
    lines = (
        f"{VERDICT_MARKS[verdict.answer]}: {cases.verdict_reason(verdict)}",
        cases.describe_speed(case),
        f"{cases.describe_judged_rows(case)}; {cases.describe_evaluations(verdict)}",
        *([f"warning: {warning}"] if warning else []),
    )
    return Group(render_rules(verdict), *(Text(one_line(line)) for line in lines))


def gate_text(case: GateResult) -> str:
    """The report as text, without colours; every line is as long as it needs to be, up to `WIDTH` letters."""
    file = io.StringIO()
    # Without a height too, a terminal that can do little is 80 letters wide, whatever its width is said to be.
    console = Console(file=file, width=WIDTH, height=25, color_system=None, highlight=False, legacy_windows=False)
    console.print(render_gate(case))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
