"""Records of a point-by-point comparison."""

from __future__ import annotations

from headway.core.comparison import ComparedModel, PointComparison
from headway.core.evidence import Measurement


def seen(name: str, slice: str = "") -> Measurement:
    return Measurement(name=name, value=1.0, low=1.0, high=1.0, method="m", n_rows=1, slice=slice)


def test_measures_and_differences_are_found_by_name_and_slice() -> None:
    model = ComparedModel(
        name="m",
        digest="sha256:0",
        is_release=False,
        threshold=0.5,
        measurements=(seen("ece"),),
        timings=(seen("latency.one_row"),),
    )
    found = PointComparison(
        period="validation",
        task="binary",
        n_rows=1,
        n_groups=1,
        first=model,
        second=model,
        differences=(seen("ece.drop"), seen("brier.drop", "a=b")),
    )
    assert model.find("ece") and model.find("latency.one_row") and model.find("ece", "a=b") is None
    assert found.difference("brier.drop", "a=b") and found.difference("brier.drop") is None
