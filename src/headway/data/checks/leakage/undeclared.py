"""D005: a feature of which nobody said when it is known."""

from __future__ import annotations

from headway.core.contracts import Survey
from headway.core.evidence import Finding


def plugin(survey: Survey) -> list[Finding]:
    """One finding that lists them: undeclared and not provably safe is undecided, never safe."""
    dataset = survey.dataset
    silent = [name for name in dataset.features if name not in dataset.roles.known]
    if not silent:
        return []
    return [
        Finding(
            code="D005",
            severity="undecided",
            says=f"nobody says when {len(silent)} of {len(dataset.features)} features are known: {', '.join(silent)}",
            where="[data.known]",
            measured=float(len(silent)),
            limit=0.0,
            mend=f'{silent[0]} = "request" (or "outcome", or the name of a time column)',
        )
    ]
