"""Assess the threats to a model: what covers each requirement, which are gaps, and what to do next."""

from __future__ import annotations

from datetime import UTC, date, datetime
from getpass import getuser
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Group

from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.config import parse_age
from headway.core.errors import ConfigError
from headway.core.threats import ThreatAssessment, ThreatResult
from headway.monitoring.settings.threats import ThreatsSection
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result
from headway.reporting.text.terminal import TerminalTable
from headway.reporting.text.threats import (
    next_steps,
    tabulate_requirements,
    tabulate_steps,
    tabulate_topics,
    threats_lines,
)
from headway.security.threats.assessment import accept_risk, assess_threats, withdraw_risk
from headway.security.threats.catalogue import load_catalogue

Action = Literal["assess", "accept", "withdraw"]


def plugin(
    action: Action = "assess",
    requirement: str = "",
    *,
    require: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    level: int = 0,
    all: Annotated[bool, Parameter(negative=())] = False,
    until: str = "",
    reason: str = "",
    who: str = "",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Compute which requirements of MITRE ATLAS and OWASP are covered, by what, and save the assessment.

    Nothing is measured: what is stored of the live release, its data, signatures, settings and logs is read. Exit 0 if
    each required one is covered or accepted, 1 if one is an open gap, 3 if no release is live.

    Example: headway threats --project headway-demo
    Example: headway threats --all --level 2 --project headway-demo
    Example: headway threats --require AML.M0013 --require AML.M0014 --project headway-demo
    Example: headway threats accept AML.T0024.002 --until 90d --reason "one caller" --project headway-demo

    Parameters
    ----------
    action
        assess, accept (a person bears a gap until a day; it ends earlier if others can reach the model), or withdraw.
    requirement
        For accept and withdraw: the id, such as AML.T0015, ML05:2023 or v1.0-C3.1.2.
    require
        Only this requirement decides on the exit code; may be repeated.
    level
        Requirements up to this level decide on the exit code: 1 (every served model) to 3; default: [threats] level.
    all
        Show every requirement with its evidence, not only topics and next steps.
    until
        For accept: last day, such as 2027-01-31, or the time until then, such as 90d; at most a year.
    reason
        For accept and withdraw: why.
    who
        Name of the person; default: the name of the user.
    """
    opened = open_project(project)
    if action != "assess":
        return _decide(opened, action, requirement, until=until, reason=reason, who=who or getuser(), json=json)
    if level not in range(4):
        raise ConfigError(f"{level} is not a level", where="--level", hint="--level 1, 2 or 3")
    ids = [load_catalogue().find(id).id for id in require]
    result = assess_threats(opened, who=who or getuser())
    level = level or opened.config[ThreatsSection].level
    print_result(result, _shown(result, ids, level, all=all), json=json)
    return _exit_code(result.now, ids, level)


def _exit_code(found: ThreatAssessment, ids: list[str], level: int) -> int:
    if not found.release:
        return UNDECIDED
    gaps = [row for row in found.requirements if row.is_open and (row.id in ids if ids else row.level <= level)]
    return FAIL if gaps else PASS


def _shown(result: ThreatResult, ids: list[str], level: int, *, all: bool) -> Group:
    now = result.now
    rows = [row for row in now.requirements if row.id in ids] if ids else now.open_gaps(level=level)
    steps = next_steps(rows)
    shown = [] if ids else [TerminalTable(tabulate_topics(now))]
    if all or ids:
        shown.append(TerminalTable(tabulate_requirements(rows if ids else now.requirements, result.accepted)))
    elif steps:
        shown.append(TerminalTable(tabulate_steps(steps)))
    following = [f"next: {one.step.command}" for one in steps[:1]]
    return Group(*shown, *threats_lines(result), *following)


def _decide(
    project: Project, action: Action, requirement: str, *, until: str, reason: str, who: str, json: bool
) -> int:
    """Accept a risk, or take that back."""
    if not requirement:
        raise ConfigError(f"{action} needs a requirement", hint=f'headway threats {action} AML.T0015 --reason "..."')
    if action == "withdraw":
        risk = withdraw_risk(project, requirement, who=who, reason=reason)
        print_result(risk, f"{risk.requirement} is not accepted any more", json=json)
        return PASS
    risk = accept_risk(project, requirement, until=_last_day(until), who=who, reason=reason)
    print_result(risk, f"{risk.requirement} is accepted until {risk.until} by {risk.who}: {risk.reason}", json=json)
    return PASS


def _last_day(until: str) -> date:
    """Return the day that `--until` names, or that is so far away."""
    try:
        return date.fromisoformat(until)
    except ValueError:
        pass
    try:
        return (datetime.now(UTC) + parse_age(until)).date()
    except ConfigError:
        hint = "--until 90d, or a day such as 2027-01-31"
        raise ConfigError(f"{until!r} is neither a day nor a time", where="--until", hint=hint) from None
