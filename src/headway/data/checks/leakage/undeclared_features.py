"""D005: It is not declared when a feature is known, and requests do not show it."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import filled_share, request_rows
from headway.data.roles import known_line

CODES = ("D005",)
MIN_FILLED_RATIO = 0.8
NAMED = 10


def plugin(context: CheckContext) -> list[Finding]:
    """Return one undecided finding that lists the features.

    A feature that callers fill at least four fifths as often as the table, in 100 requests or more, is known at
    the request and needs no declaration. Features of views need none either: they were joined as they were known at the
    decision, and a view without times is declared to be always true.
    """
    dataset = context.dataset
    joined = {name for view in dataset.views for name in view.feature_names}
    undeclared = [name for name in dataset.features if name not in dataset.roles.known and name not in joined]
    shown = _shown(context, undeclared)
    unknown = [name for name in undeclared if name not in shown]
    if not unknown:
        return []
    proven = f" ({len(shown)} more are shown by requests)" if shown else ""
    return [
        Finding(
            code="D005",
            severity="undecided",
            message=f"it is not declared when {len(unknown)} of {len(dataset.features)} features are known{proven}: "
            + _named(unknown),
            where="[data.known]",
            measured=float(len(unknown)),
            limit=0.0,
            hint=f'{known_line(unknown[0], "request")} (or "outcome", or the name of a time column), one line each,'
            " in headway.toml",
        )
    ]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _shown(context: CheckContext, names: list[str]) -> list[str]:
    """Return the features that callers send."""
    try:
        requests = request_rows(context) if names else None
    except NotApplicable:
        return []
    if requests is None:
        return []
    table = context.dataset.table
    return [
        name
        for name in names
        if name in requests.columns and filled_share(requests[name]) > MIN_FILLED_RATIO * filled_share(table[name])
    ]
