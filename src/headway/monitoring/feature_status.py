"""Last value replay and feature report of a release, and what a replay found, as findings.

O013: Values that requests saw of a feature view are not what they should have been.
O014: A feature view could not be replayed, so that it is not known whether its values were right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace as replaced

from headway.core.evidence import Finding
from headway.core.feature_report import FeatureReport
from headway.core.feature_view import FeatureView
from headway.core.selective import CertificateAudit
from headway.core.value_replay import KINDS, ValueReplay, ValueSkew, ViewReplay
from headway.registry.project import LIVE_POINTER, Project

VALUES_DIFFER, NOT_REPLAYED = "O013", "O014"
RECENT = 50
"""Records that are searched for the last one of a release."""
_LOOKED_UP: dict[str, tuple[str, ...]] = {}
"""Views that a release looks up, by its digest: to open a release reads all of it, and it never changes."""
_OfRelease = TypeVar("_OfRelease", ValueReplay, FeatureReport, CertificateAudit)


def last_of_release(project: Project, kind: type[_OfRelease], release: str) -> _OfRelease | None:
    """Return the last value replay, feature report or audit of a release; None if there is none."""
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
    if head.release not in _LOOKED_UP:
        _LOOKED_UP[head.release] = looked_up(project.registry.resolve(f"{project.name}@{LIVE_POINTER}").release.views)
    return head.release, _LOOKED_UP[head.release]


def describe_skew(skew: ValueSkew) -> str:
    """Return what a skew is in a clause: the features, and what is wrong with them."""
    names = f"{', '.join(skew.features[:-1])} and {skew.features[-1]}" if len(skew.features) > 1 else skew.features[0]
    detail = f" ({skew.detail})" if skew.detail else ""
    return f"{names} of {skew.view}: {KINDS[skew.kind]}{detail}"


def replay_findings(views: Iterable[ViewReplay], unknown: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return a finding for each skew, and one for each view that could not be replayed."""
    differ = (
        Finding(
            code=VALUES_DIFFER,
            severity="warn",
            message=f"{describe_skew(skew)}, in {skew.n_rows:,} of {view.n_rows:,} rows",
            where=skew.view,
            hint="headway features replay",
        )
        for view in views
        for skew in view.skews
    )
    not_replayed = (
        Finding(
            code=NOT_REPLAYED,
            severity="undecided",
            message=f"{view} could not be replayed: {reason}",
            where=view,
            hint="headway features replay",
        )
        for view, reason in unknown.items()
    )
    return (*differ, *not_replayed)


def continued(replay: ValueReplay, before: ValueReplay | None) -> ValueReplay:
    """Return a replay whose skews begin where the replay before found them, if it found the same ones.

    A skew is the same if its view and kind are, and a feature.
    """
    known = before.skews if before else ()
    return replaced(
        replay,
        views=tuple(
            replaced(view, skews=tuple(replaced(skew, since_us=_begin(skew, known)) for skew in view.skews))
            for view in replay.views
        ),
    )


def _begin(skew: ValueSkew, known: Sequence[ValueSkew]) -> int:
    same = (
        one
        for one in known
        if (one.view, one.kind) == (skew.view, skew.kind) and set(one.features) & set(skew.features)
    )
    return min((skew.since_us, *(one.since_us for one in same)))
