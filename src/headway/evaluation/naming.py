"""What ablations name, in sentences that need no table.

E003: a feature or a part that does harm (warn), that changes nothing, or of which it cannot be told (note).
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Finding, Measurement

CODE = "E003"
_LEFT_OUT = {
    "ablation": "leave it out of what the model reads, and train anew",
    "components": "leave it out, and judge what is left: headway optimize",
}
_KINDS = {"ablation": "feature", "components": "part"}
_NOTES = {
    "ablation.useless": "features that do nothing for this model (masked, its error changes by less than 1 %)",
    "components.nothing": "parts that buy nothing (without, errors change by less than 1 %, times and costs by 5 %)",
}


def findings_of(found: Sequence[Measurement]) -> list[Finding]:
    """A finding for each that does harm, one for all that do nothing, and one for all that are not told."""
    told: list[Finding] = []
    for audit in _KINDS:
        told += [_harm(audit, each, found) for each in _of(found, f"{audit}.harmful")]
        for name, what in ((name, what) for name, what in _NOTES.items() if name.startswith(audit)):
            told += _together(what, [each.slice for each in _of(found, name)])
        open_ones = _of(found, f"{audit}.unsettled")
        told += _together(f"{_KINDS[audit]}s not decided", [f"{each.slice} ({each.method})" for each in open_ones])
    return told


def _of(found: Sequence[Measurement], name: str) -> list[Measurement]:
    return [each for each in found if each.name == name and each.slice]


def _harm(audit: str, named: Measurement, found: Sequence[Measurement]) -> Finding:
    """The finding of one that does harm, with what is lost without it, which is below 0."""
    names = ("ablation.retrained.", "ablation.masked.") if audit == "ablation" else ("components.",)
    losses = (
        each
        for name in names
        for each in found
        if each.slice == named.slice and each.name.startswith(name) and each.name.endswith(".drop")
    )
    lost = next(losses, None)
    said = "" if lost is None else f"; {lost.name} without it is {lost.value:.2g} [{lost.low:.2g}, {lost.high:.2g}]"
    return Finding(
        code=CODE,
        severity="warn",
        message=f"the {_KINDS[audit]} {named.slice!r} does harm: {named.method}{said}",
        measured=None if lost is None else lost.value,
        limit=0.0,
        hint=_LEFT_OUT[audit],
    )


def _together(what: str, said: Sequence[str]) -> list[Finding]:
    return [Finding(code=CODE, severity="note", message=f"{what}: {'; '.join(said)}")] if said else []
