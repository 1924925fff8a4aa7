"""Requests see wrong values of features."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.record import digest_of
from headway.core.value_replay import ValueReplay, ValueSkew
from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.feature_status import describe_skew
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether values differ in the last replay; None if none do and a view could not be replayed."""
    replay = facts.value_replay
    if not facts.views:
        summary = "the live release looks up no feature view"
        return ConditionState(is_firing=False, summary=summary, release=facts.release) if facts.release else None
    if replay is None or replay.status == "unknown":
        return None
    skews = "; ".join(_skew_summary(replay, skew) for skew in replay.skews)
    summary = f"requests see wrong values of features: {skews}; next: headway features replay" if skews else ""
    named = sorted(f"{skew.view} {skew.kind} {' '.join(skew.features)}" for skew in replay.skews)
    return ConditionState(
        is_firing=bool(skews),
        summary=summary or f"all values of feature views were as they should be in {replay.n_rows:,} rows",
        subject=digest_of("; ".join(named).encode()) if named else "",
        release=facts.release,
        page="/data/features",
    )


def _skew_summary(replay: ValueReplay, skew: ValueSkew) -> str:
    compared = next(view.n_rows for view in replay.views if view.view == skew.view)
    since = datetime.fromtimestamp(skew.since_us / 1e6, UTC).isoformat(" ", timespec="minutes")[:16]
    return f"{describe_skew(skew)}, in {skew.n_rows:,} of {compared:,} rows, since {since} UTC (kind: {skew.kind})"


plugin = AlertCondition(title="Values of features are wrong", judge=_judge, order=120)
