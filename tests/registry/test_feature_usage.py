"""Which releases read a view."""

from __future__ import annotations

from msgspec.structs import replace
from tests.registry.releases import FILES, passed, release

from headway.core.feature_view import FeatureView
from headway.registry.feature_usage import uses_of
from headway.registry.model_registry import ModelRegistry


def test_a_release_that_was_withdrawn_uses_no_view(ours: ModelRegistry) -> None:
    made = replace(release(), views=(FeatureView(name="weather", version=1, columns=("temp",)),))
    ours.point("flights@live", ours.publish(made, FILES), passed())
    assert [(use.view, use.features) for use in uses_of(ours)] == [("weather@v1", ("temp",))]
    ours.withdraw("flights@live", who="ann", why="out of use")
    assert uses_of(ours) == []
