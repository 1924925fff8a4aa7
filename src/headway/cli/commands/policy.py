"""Test the release policy: break the winner of the last search on purpose and see which rule refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson, ProjectFolder
from headway.core.verdict import PolicyTest
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.reporting.text.tables import VERDICT_MARKS, Cell, Column, Line, Table, measurement_cell
from headway.reporting.text.terminal import TerminalTable
from headway.reporting.text.words import rule_limit


def plugin(
    action: Literal["test"] = "test",  # noqa: ARG001 - the only action so far
    *,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Judge three broken copies of the winner and one exact copy. Exit 0 if each is judged as expected, else 1.

    The broken copies have overconfident probabilities, inverted decisions on one slice, and missing values read as
    numbers; a rule on exactly that must fail each of them. The exact copy in single precision must get the verdict of
    the winner. The test runs on the validation period, where evaluations are not counted, and stores nothing. A copy
    that cannot be made is reported as not tested and does not count against the policy.

    Example: headway policy test --project headway-demo

    Parameters
    ----------
    action
        test
    """
    opened = open_project(project)
    results = pipeline.test_policy(opened, pipeline.last_search(opened), pipeline.periods(opened))
    print_result(results, _table(results), json=json)
    return PASS if all(result.passed for result in results) else FAIL


def _table(results: Sequence[PolicyTest]) -> TerminalTable:
    columns = (
        Column(title="Change", folds=True),
        Column(title="Verdict"),
        Column(title="Deciding rule"),
        Column(title="Measured"),
        Column(title="Policy"),
        Column(title="Explanation", folds=True),
    )
    return TerminalTable(Table(columns=columns, rows=tuple(map(_row, results))))


def _row(result: PolicyTest) -> tuple[Cell, ...]:
    change = (Line(text=result.what),)
    why = (Line(text=result.message, style="quiet"), *((Line(text=result.hint),) if result.hint else ()))
    if result.verdict is None:
        return (change, (Line(text="not tested", style="quiet"),), (), (), (), why)
    answer = result.verdict.answer
    rule = result.rule_result.rule if result.rule_result else None
    deciding = (Line(text=rule.measure), Line(text=rule_limit(rule), style="quiet")) if rule else ()
    measured = (
        measurement_cell(result.rule_result.measurement)
        if result.rule_result and result.rule_result.measurement
        else ()
    )
    outcome = Line(text="passed" if result.passed else "failed", style="pass" if result.passed else "fail")
    return (change, (Line(text=VERDICT_MARKS[answer], style=answer),), deciding, measured, (outcome,), why)
