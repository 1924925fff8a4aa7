"""Last value replay and feature report of a release, and what a replay found, as findings.

O013: Values that requests saw of a feature view are not what they should have been.
O014: A feature view could not be replayed, so that it is not known whether its values were right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from headway.core.evidence import Finding
from headway.core.feature_report import FeatureReport
from headway.core.feature_view import FeatureView
from headway.core.value_replay import KINDS, ValueReplay, ValueSkew
from headway.registry.project import LIVE_POINTER, Project

VALUES_DIFFER, NOT_REPLAYED = "O013", "O014"
RECENT = 50
"""Records that are searched for the last one of a release."""
_OfRelease = TypeVar("_OfRelease", ValueReplay, FeatureReport)


def last_of_release(project: Project, kind: type[_OfRelease], release: str) -> _OfRelease | None:
    """Return the last replay or feature report of a release, None if there is none."""
    recent = (saved.record for saved in project.recent(kind, limit=RECENT)) if release else ()
    return next((record for record in recent if record.release == release), None)


def looked_up(views: Iterable[FeatureView]) -> tuple[str, ...]:
    """Return the views whose values come from a store; the others are computed from the request."""
    return tuple(view.reference for view in views if not view.is_on_demand)


def live_views(project: Project) -> tuple[str, tuple[str, ...]]:
    """Return the digest of the live release, empty without one, and the views that it looks up.

    Raises Refused if the release does not verify.
    """
    head = project.registry.head(f"{project.name}@{LIVE_POINTER}")
    if head is None or not head.release:
        return "", ()
    release = project.registry.resolve(f"{project.name}@{LIVE_POINTER}").release
    return head.release, looked_up(release.views)


def describe_skew(skew: ValueSkew) -> str:
    """Return what a skew is in a clause: the features, and what is wrong with them."""
    names = f"{', '.join(skew.features[:-1])} and {skew.features[-1]}" if len(skew.features) > 1 else skew.features[0]
    detail = f" ({skew.detail})" if skew.detail else ""
    return f"{names} of {skew.view}: {KINDS[skew.kind]}{detail}"


def replay_findings(replay: ValueReplay) -> Sequence[Finding]:
    """Return a finding for each skew, and one for each view that could not be replayed."""
    counts = {view.view: view.n_rows for view in replay.views}
    return [
        *(
            Finding(
                code=VALUES_DIFFER,
                severity="warn",
                message=f"{describe_skew(skew)}, in {skew.n_rows:,} of {counts[skew.view]:,} rows",
                where=skew.view,
                hint="headway features replay",
            )
            for skew in replay.skews
        ),
        *(
            Finding(
                code=NOT_REPLAYED,
                severity="undecided",
                message=f"{view} could not be replayed: {reason}",
                where=view,
                hint="headway features replay",
            )
            for view, reason in replay.unknown.items()
        ),
    ]
