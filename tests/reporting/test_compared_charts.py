"""Charts of two models on the same rows: calibration curves, and histograms of the times of calls."""

from __future__ import annotations

import json

import pytest

from headway.core.comparison import CallTimes, ComparedModel, PointComparison
from headway.core.evidence import Measurement
from headway.reporting.charts.compared import draw_calibration, draw_call_times

pytestmark = pytest.mark.slow
TIMES = CallTimes(
    edges=(1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    first=(5, 90, 5, 0, 0),
    second=(0, 0, 10, 80, 10),
    measurements=(
        Measurement(
            name="latency.speedup", value=4.1, low=3.9, high=4.3, method="m", n_rows=200, unit="x", se=0.1, dof=9
        ),
    ),
)


def model(name: str, *observed: float) -> ComparedModel:
    bins = [
        Measurement(
            name=measure, value=value, low=value - 0.1, high=value + 0.1, method="m", n_rows=50, slice=f"bin {at}"
        )
        for at, share in enumerate(observed)
        for measure, value in (("reliability", share), ("reliability.predicted", 0.2 + at / 5))
    ]
    return ComparedModel(name=name, digest="sha256:0", is_release=False, threshold=0.5, measurements=tuple(bins))


def compared(*observed: float, times: CallTimes = TIMES) -> PointComparison:
    first, second = model("one", *observed), model("other", *observed)
    return PointComparison(
        period="validation", task="binary", n_rows=100, n_groups=20, first=first, second=second, times=times
    )


def test_histograms_of_calls_state_how_many_times_as_fast() -> None:
    drawn = draw_call_times(compared())
    assert drawn is not None and "4.10 [3.90, 4.30] times" in drawn.title
    assert drawn.wide.count("<svg") == 1 and "style=" not in drawn.wide + drawn.narrow


def test_a_busy_machine_has_no_histogram() -> None:
    assert draw_call_times(compared(times=CallTimes(busy="other processes used the cores"))) is None


def test_calibration_curves_need_two_bins() -> None:
    drawn = draw_calibration(compared(0.2, 0.5, 0.6))
    assert drawn is not None and "Dashed with squares: the second." in drawn.reading
    assert draw_calibration(compared(0.2)) is None


def test_the_histogram_of_a_browser_names_time_and_count_of_each_bar():
    drawn = draw_call_times(compared(), interactive=True)
    assert drawn is not None and drawn.wide_spec and drawn.narrow_spec
    (rows,) = json.loads(drawn.wide_spec)["datasets"].values()
    assert {"series": "first", "time": "2.00 to 4.00 µs", "counted": "90 of 100"}.items() <= rows[1].items()
    plain = draw_call_times(compared())
    assert plain is not None and not plain.wide_spec and plain.wide == drawn.wide
