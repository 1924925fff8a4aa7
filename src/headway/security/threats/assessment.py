"""Assess the threats of a project: repeat it, open it again when something changes, and accept risks for a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

import headway
from headway.core.config import parse_age
from headway.core.errors import ConfigError, Refused
from headway.core.threats import (
    AcceptedRisk,
    ReopenCode,
    RequirementCoverage,
    ThreatAssessment,
    ThreatResult,
    TrendPoint,
    accepted_risks,
    exposure_digest,
    reopen_reasons,
)
from headway.monitoring.settings.threats import ThreatsSection
from headway.registry.project import Project
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.coverage import compute_coverage, parse_time
from headway.security.threats.evidence import read_evidence

MAX_ACCEPTANCE = timedelta(days=366)
"""A risk is accepted for no longer than this."""
REPEATS = 4
"""An assessment that says the same as the one before is saved again after this part of `[threats] every`."""


def assess_threats(project: Project, *, who: str, now: datetime | None = None) -> ThreatResult:
    """Compute the coverage of every requirement, and save it unless the last assessment says the same.

    Parameters
    ----------
    who : str
        Name of the person or program, for the record.
    now : datetime, optional
        The time with its zone, by default that of the clock.
    """
    now = now or datetime.now(UTC)
    max_age = parse_age(project.config[ThreatsSection].every, where="[threats] every")
    catalogue = load_catalogue()
    graph = read_evidence(project, catalogue)
    accepted = accepted_risks(project.records(AcceptedRisk), exposure=graph.exposure, now=now)
    history = project.records(ThreatAssessment)
    before = history[-1] if history else None
    requirements = compute_coverage(catalogue, graph, now=now, max_age=max_age, accepted=accepted)
    why: tuple[ReopenCode, ...] = ()
    if before:
        why = reopen_reasons(before, release=graph.release, exposure=graph.exposure, now=now, data=graph.data)
    found = ThreatAssessment(
        name=project.name,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
        by=who,
        headway=headway.__version__,
        number=(before.number if before else 0) + (1 if why or not before else 0),
        catalogue=catalogue.version,
        requirements=requirements,
        release=graph.release,
        model=graph.model,
        data=dict(graph.data),
        exposure=dict(graph.exposure),
        owner=project.config[ThreatsSection].owner,
        why=why,
        opened=_opened(before, requirements),
        due=(now + max_age).astimezone(UTC).date().isoformat(),
    )
    if before and not why and _says_the_same(before, found) and now - parse_time(before.at) < max_age / REPEATS:
        found = replace(before, requirements=requirements)  # nothing to save: its evidence as it is now
    else:
        project.save(found)
        history = [*history, found]
    holds = {id: risk for id, (_, risk) in accepted.items()}
    return ThreatResult(now=found, before=before, accepted=holds, trend=tuple(map(_point, history)))


def accept_risk(
    project: Project, requirement: str, *, until: date, who: str, reason: str, now: datetime | None = None
) -> AcceptedRisk:
    """Save that a person accepts a gap until a day, for the exposure of today.

    Raises
    ------
    ConfigError
        If the catalogue has no such requirement, or a reason, a person or a valid day is missing.
    Refused
        If the requirement is not a gap.
    """
    now = now or datetime.now(UTC)
    catalogue = load_catalogue()
    row = catalogue.find(requirement)
    today = now.astimezone(UTC).date()
    if not (who.strip() and reason.strip()):
        raise ConfigError("an accepted risk names who and why", hint='--reason "why it is bearable until then"')
    if not today <= until <= today + MAX_ACCEPTANCE:
        raise ConfigError(
            f"a risk is accepted until a day from today to {today + MAX_ACCEPTANCE}, not until {until}",
            where="--until",
            hint=f"--until {today + timedelta(days=90)}",
        )
    graph = read_evidence(project, catalogue)
    max_age = parse_age(project.config[ThreatsSection].every, where="[threats] every")
    covered = compute_coverage(catalogue, graph, now=now, max_age=max_age, accepted={})
    found = next(one for one in covered if one.id == row.id)
    if found.coverage not in ("gap", "measured"):
        raise Refused(f"{row.id} is {found.coverage}, so there is nothing to accept", hint="headway threats --all")
    risk = AcceptedRisk(
        name=project.name,
        requirement=row.id,
        who=who,
        reason=reason,
        at=now.astimezone(UTC).isoformat(timespec="seconds"),
        until=until.isoformat(),
        exposure=exposure_digest(graph.exposure),
    )
    project.save(risk)
    return risk


def withdraw_risk(
    project: Project, requirement: str, *, who: str, reason: str, now: datetime | None = None
) -> AcceptedRisk:
    """End an accepted risk; raises ConfigError if it is not accepted."""
    now = now or datetime.now(UTC)
    row = load_catalogue().find(requirement)
    last = [risk for risk in project.records(AcceptedRisk) if risk.requirement == row.id]
    if not last or last[-1].is_withdrawn:
        raise ConfigError(f"the risk of {row.id} is not accepted", hint="headway threats --all")
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    risk = replace(last[-1], who=who, reason=reason, at=at, is_withdrawn=True)
    project.save(risk)
    return risk


def _opened(before: ThreatAssessment | None, now: tuple[RequirementCoverage, ...]) -> tuple[str, ...]:
    """Return the requirements that became open gaps, in this assessment or earlier, and still are."""
    closed = {*before.opened, *(row.id for row in before.requirements if not row.is_open)} if before else set()
    return tuple(row.id for row in now if row.is_open and row.id in closed)


def _says_the_same(before: ThreatAssessment, now: ThreatAssessment) -> bool:
    def summarize(assessment: ThreatAssessment) -> object:
        gaps = {row.id: [(one.key, one.code) for one in row.missing] for row in assessment.requirements}
        return gaps, [(row.id, row.coverage, row.accepted) for row in assessment.requirements], assessment.owner

    return summarize(before) == summarize(now)


def _point(assessment: ThreatAssessment) -> TrendPoint:
    return TrendPoint(
        at=assessment.at,
        number=assessment.number,
        covered=assessment.count("covered"),
        gaps=assessment.count("gap"),
        not_applicable=assessment.count("not applicable"),
        open_gaps=len(assessment.open_gaps()),
        measured=assessment.count("measured"),
    )
