"""A feature report and a value replay of two views: one feature is useless, one is in another unit."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureCost, FeatureReport, FeatureWorth
from headway.core.value_replay import SkewExample, ValueReplay, ValueSkew, ViewReplay


def figure(value: float, width: float = 0.0, *, name: str = "components.brier.drop") -> Measurement:
    return Measurement(
        name=name, value=value, low=value - width, high=value + width, method="m", n_rows=900, n_groups=30
    )


REPORT = FeatureReport(
    name="flights",
    release="sha256:00",
    at="2026-03-02T00:00:00+00:00",
    n_logged=1_000,
    costs=(
        FeatureCost(
            view="weather@v2", lookup_us=figure(12.5, 0.5, name="feature.lookup_us"), n_entities=3, size_bytes=72
        ),
    ),
    features=(
        FeatureWorth(
            view="weather@v2",
            name="wind",
            worth=figure(0.01, 0.002),
            missing=figure(0.25),
            stale=figure(0.0),
            age_s=(1_350.0, 200_000.0),
            drift=figure(0.03),
        ),
        FeatureWorth(
            view="trip@v1", name="is_weekend", worth=figure(0.0), proposal="useless", reason="no error changes by 1%"
        ),
    ),
    unknown=("drift: no ended period was monitored",),
)
SKEW = ValueSkew(
    view="weather@v2",
    kind="unit",
    features=("temp",),
    n_rows=500,
    since_us=1_772_323_200_000_000,
    detail="temp is 1.8 times the value",
    examples=(SkewExample(request=7, at_us=1, feature="temp", logged=50.0, expected=None),),
)
REPLAY = ValueReplay(
    name="flights",
    release="sha256:00",
    at="2026-03-02T00:00:00+00:00",
    since_us=0,
    until_us=1,
    n_rows=1_000,
    views=(ViewReplay(view="weather@v2", n_rows=1_000, n_lagging=4, skews=(SKEW,)),),
    unknown={"planes@v1": "the source is gone"},
)
