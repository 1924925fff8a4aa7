"""Run the data checks.

D000: A check could not judge this dataset; the message says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core import plugins
from headway.core.assessment import UNJUDGED
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext, run_check

DECLARED = ("D001", "D052")
"""Codes of notes that repeat what `[data.known]` and `[personal]` declare. They are stored, but not shown."""
BEFORE_TRAINING = ("roles", "leakage", "personal")


def run_checks(context: CheckContext, *, families: Sequence[str] = ()) -> list[Finding]:
    """Run every check, or those of some families, and return their findings.

    Parameters
    ----------
    context : CheckContext
        The dataset, its periods and whatever else is known about it.
    families : sequence of str
        Families to run; empty for all. Checks of other packages have no family and always run.

    Returns
    -------
    list of Finding
        A check that cannot judge, or that raises, yields a finding D000, so that it never counts as passed.
    """
    selected = {*families, ""}
    names = [name for name in plugins.names("check") if not families or plugins.family("check", name) in selected]
    return [finding for name in names for finding in _run(name, context)]


def check_codes(name: str) -> tuple[str, ...]:
    """Return the finding codes that a check declares in its module constant `CODES`, without importing it."""
    return tuple(plugins.declaration("check", name, "CODES", ()))


def unjudged_check(finding: Finding) -> str:
    """Return the name of the check that a D000 finding is about; records of 0.1 name it in `where` only."""
    return finding.plugin or finding.where.removeprefix("check ")


def _run(name: str, context: CheckContext) -> list[Finding]:
    found = run_check(name, context)
    if not isinstance(found, NotApplicable):
        return found
    return [
        Finding(
            code=UNJUDGED,
            severity="note",
            message=f"check '{name}' did not run: {found.what}",
            where=f"check {name}",
            hint=found.hint,
            plugin=name,
            reason=found.what,
        )
    ]
