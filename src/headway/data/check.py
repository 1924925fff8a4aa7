"""Run every check on a survey of data; a check that cannot judge says so.

D000: a check that could not judge this dataset, and why.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core import plugins
from headway.core.contracts import CheckContext
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding

BEFORE_TRAINING = ("roles", "leakage", "personal")
CHECK = "check "
"""What stands before its name in the place of a finding on a check itself."""


def run_checks(survey: CheckContext, *, families: Sequence[str] = ()) -> list[Finding]:
    """What every check found, or those of these families and those from outside, which have none.

    One that could not judge is a finding of its own, so it never reads as passed.
    """
    asked = {*families, ""} if families else None
    names = [name for name in plugins.names("check") if asked is None or plugins.family("check", name) in asked]
    return [finding for name in names for finding in _run(name, survey)]


def _run(name: str, survey: CheckContext) -> list[Finding]:
    try:
        return list(plugins.load_check(name)(survey))
    except NotApplicable as reason:
        message = f"check '{name}' did not run: {reason.what}"
        return [Finding(code="D000", severity="note", message=message, where=f"{CHECK}{name}", hint=reason.hint)]
