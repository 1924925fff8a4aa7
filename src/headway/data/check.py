"""Run every check on a dataset; a check that cannot judge says so.

D000: a check that could not judge this dataset, and why.
"""

from __future__ import annotations

from headway.core import plugins
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding


def check(dataset: Dataset) -> list[Finding]:
    """What every check found; one that could not judge is a finding of its own, so it never reads as passed."""
    return [finding for name in plugins.names("check") for finding in _run(name, dataset)]


def _run(name: str, dataset: Dataset) -> list[Finding]:
    try:
        return list(plugins.load_check(name)(dataset))
    except NotApplicable as reason:
        says = f"check '{name}' did not run: {reason.what}"
        return [Finding(code="D000", severity="note", says=says, where=dataset.name, mend=reason.mend)]
