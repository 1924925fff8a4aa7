"""The assessments that were kept of a project, and what one found that the one before it did not."""

from __future__ import annotations

from headway.core.assessment import Assessment
from headway.core.evidence import Finding
from headway.core.record import read
from headway.registry.project import Project

Key = tuple[str, str]


def history(project: Project) -> list[Assessment]:
    """All assessments of a project, oldest first."""
    return [read(Assessment, content) for content in project.state.kept("assessment", name=project.name)]


def last(project: Project) -> Assessment | None:
    """The last assessment of a project; None where there was none."""
    content = project.state.latest("assessment", name=project.name)
    return read(Assessment, content) if content else None


def opened(before: Assessment | None, now: Assessment) -> list[Finding]:
    """What is found now and was not before; of the first assessment, nothing."""
    known = {_key(each) for each in before.judged} if before else set()
    return [each for each in now.judged if before and _key(each) not in known]


def closed(before: Assessment | None, now: Assessment) -> list[Finding]:
    """What was found before and is no longer; not where its check could not judge now, or was not asked."""
    found = {_key(each) for each in now.judged}
    judged = {each.code for each in now.looked if not each.unjudged}
    return [each for each in (before.judged if before else ()) if _key(each) not in found and each.code in judged]


def silent(before: Assessment | None, now: Assessment) -> list[Finding]:
    """What was found before and of which nobody can say whether it is still so: its check could not judge now."""
    found = {_key(each) for each in now.judged}
    judged = {each.code for each in now.looked if not each.unjudged}
    return [each for each in (before.judged if before else ()) if _key(each) not in found and each.code not in judged]


def _key(finding: Finding) -> Key:
    """What makes a finding the same one on another day: its code and its place, not its numbers."""
    return finding.code, finding.where
