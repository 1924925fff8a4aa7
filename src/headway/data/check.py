"""Run the data checks.

D000: A check could not judge this dataset; the message says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext, load_check

BEFORE_TRAINING = ("roles", "leakage", "personal")
CHECK = "check "
"""What stands before its name in the place of a finding on a check itself."""


def run_checks(survey: CheckContext, *, families: Sequence[str] = ()) -> list[Finding]:
    """Run every check, or those of some families, and return their findings.

    Parameters
    ----------
    survey : CheckContext
        The dataset, its periods and whatever else is known about it.
    families : sequence of str
        Families to run; empty for all. Checks of other packages have no family and always run.

    Returns
    -------
    list of Finding
        A check that raises NotApplicable yields a finding D000, so that it never counts as passed.
    """
    asked = {*families, ""} if families else None
    names = [name for name in plugins.names("check") if asked is None or plugins.family("check", name) in asked]
    return [finding for name in names for finding in _run(name, survey)]


def _run(name: str, survey: CheckContext) -> list[Finding]:
    try:
        return list(load_check(name)(survey))
    except NotApplicable as reason:
        message = f"check '{name}' did not run: {reason.what}"
        return [Finding(code="D000", severity="note", message=message, where=f"{CHECK}{name}", hint=reason.hint)]
