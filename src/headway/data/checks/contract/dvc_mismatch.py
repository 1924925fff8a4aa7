"""D066: Data differs from what DVC recorded, or DVC tracks data that was not fetched."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.provenance import TrackedData
from headway.data.context import CheckContext
from headway.data.dvc import LOCK, PIPELINE

CODES = ("D066",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per file or folder: `stop` if rows may be missing, else `warn`.

    Data that DVC does not track has no finding.

    Raises
    ------
    NotApplicable
        If none of the DVC records can be read.
    """
    files = context.dataset.tracked
    unreadable = [tracked for tracked in files if tracked.error]
    if unreadable and len(unreadable) == len(files):
        raise NotApplicable(f"the DVC record of {unreadable[0].path} cannot be read: {unreadable[0]}")
    return [*(_differs(tracked) for tracked in files if tracked.difference), *map(_unreadable, unreadable)]


def _differs(tracked: TrackedData) -> Finding:
    target = tracked.record.replace(LOCK, f"{PIPELINE}:{tracked.stage}") if tracked.stage else tracked.record
    pull = f"dvc pull {target}, to restore the recorded data"
    return Finding(
        code="D066",
        severity="stop" if tracked.missing else "warn",
        message=f"{tracked.path} is not what DVC recorded: {tracked.difference}; {target} has "
        f"{tracked.digest or 'no digest'}",
        where=tracked.path,
        hint=pull if tracked.missing else f"{pull}; or dvc commit {target}, to record the current data",
    )


def _unreadable(tracked: TrackedData) -> Finding:
    return Finding(
        code="D066", severity="undecided", message=f"the DVC record cannot be read: {tracked}", where=tracked.path
    )
