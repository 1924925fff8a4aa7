"""Labels of the Pareto front overlap no point and no other label."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.reporting.charts.pareto import LABEL_LINE, LabelBox, line_end, place_labels
from headway.reporting.charts.theme import text_width

PLOT = (640.0, 340.0)
POINTS = st.lists(st.tuples(st.floats(0, 640), st.floats(0, 340)), min_size=1, max_size=12, unique=True)


def boxes(centres: list[tuple[float, float]], texts: list[str]) -> list[LabelBox]:
    return [
        LabelBox(x, y, text_width(text) / 2, LABEL_LINE / 2 - 0.01) for (x, y), text in zip(centres, texts, strict=True)
    ]


@pytest.mark.slow
@given(POINTS)
def test_labels_do_not_overlap_and_lie_inside_the_plot(points: list[tuple[float, float]]) -> None:
    texts = [f"{number} as it came" if number == 1 else str(number) for number in range(1, len(points) + 1)]
    placed = boxes(place_labels(points, texts, plot=PLOT), texts)
    assert not [(a, b) for i, a in enumerate(placed) for b in placed[:i] if a.overlaps([b])]
    assert all(box.inside(*PLOT) for box in placed)


def test_labels_of_many_points_at_one_position_do_not_overlap() -> None:
    texts = [str(number) for number in range(1, 25)]
    placed = boxes(place_labels([(300.0, 170.0)] * 24, texts, plot=PLOT), texts)
    assert not [(a, b) for i, a in enumerate(placed) for b in placed[:i] if a.overlaps([b])]


def test_a_label_avoids_occupied_areas() -> None:
    occupied = LabelBox(320, 170, 320, 20)
    (centre,) = place_labels([(300.0, 170.0)], ["7 released"], plot=PLOT, occupied=[occupied])
    assert not LabelBox(*centre, 30, 6).overlaps([occupied])


def test_a_label_without_free_space_stays_next_to_its_point() -> None:
    (centre,) = place_labels([(300.0, 170.0)], ["7"], plot=PLOT, occupied=[LabelBox(320, 170, 1000, 1000)])
    assert math.dist(centre, (300.0, 170.0)) < 20


def test_a_line_to_a_distant_label_ends_at_its_edge() -> None:
    assert line_end((104.0, 100.0), "7", (90.0, 100.0)) == (90.0, 100.0)
    x, y = line_end((200.0, 100.0), "7", (100.0, 100.0))
    assert y == 100.0
    assert 190 < x < 200
