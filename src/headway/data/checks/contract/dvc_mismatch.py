"""D066: Data differs from what DVC recorded, or DVC tracks data that was not fetched."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.provenance import Tracked
from headway.data.context import CheckContext
from headway.data.dvc import LOCK, PIPELINE

CODES = ("D066",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a finding per file or folder: `stop` if rows may be missing, else `warn`.

    Data that DVC does not track has no finding.

    Raises
    ------
    NotApplicable
        If none of the DVC records can be read.
    """
    told = survey.dataset.tracked
    unread = [each for each in told if each.unread]
    if unread and len(unread) == len(told):
        raise NotApplicable(f"what DVC says of {unread[0].path} is not known: {unread[0]}")
    return [*(_differs(each) for each in told if each.unlike), *map(_unread, unread)]


def _differs(each: Tracked) -> Finding:
    target = each.record.replace(LOCK, f"{PIPELINE}:{each.stage}") if each.stage else each.record
    pull = f"dvc pull {target}, to have what was recorded"
    return Finding(
        code="D066",
        severity="stop" if each.gone else "warn",
        message=f"{each.path} is not what DVC recorded: {each.unlike}; {target} has {each.digest or 'no digest'}",
        where=each.path,
        hint=pull if each.gone else f"{pull}; or dvc commit {target}, to record what is here",
    )


def _unread(each: Tracked) -> Finding:
    return Finding(
        code="D066", severity="undecided", message=f"nobody knows what DVC recorded: {each}", where=each.path
    )
