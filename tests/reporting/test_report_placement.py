"""Labels lie on no point and on no other label, wherever the points are."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from headway.reporting.charts.pareto import LABEL_LETTER, LABEL_LINE, LabelBox, line_end, place_labels

PLOT = (640.0, 340.0)
POINTS = st.lists(st.tuples(st.floats(0, 640), st.floats(0, 340)), min_size=1, max_size=12, unique=True)


def boxes(centres: list[tuple[float, float]], texts: list[str]) -> list[LabelBox]:
    return [
        LabelBox(x, y, len(text) * LABEL_LETTER / 2, LABEL_LINE / 2 - 0.01)
        for (x, y), text in zip(centres, texts, strict=True)
    ]


@given(POINTS)
def test_labels_of_a_frontier_do_not_lie_on_each_other(points: list[tuple[float, float]]) -> None:
    texts = [f"{number} as it came" if number == 1 else str(number) for number in range(1, len(points) + 1)]
    placed = boxes(place_labels(points, texts, plot=PLOT), texts)
    assert not [(a, b) for i, a in enumerate(placed) for b in placed[:i] if a.meets(b)]
    assert all(box.inside(*PLOT) for box in placed)


def test_labels_of_many_points_on_one_spot_still_keep_apart() -> None:
    texts = [str(number) for number in range(1, 25)]
    placed = boxes(place_labels([(300.0, 170.0)] * 24, texts, plot=PLOT), texts)
    assert not [(a, b) for i, a in enumerate(placed) for b in placed[:i] if a.meets(b)]


def test_a_label_keeps_off_what_is_taken() -> None:
    taken = LabelBox(320, 170, 320, 20)
    (centre,) = place_labels([(300.0, 170.0)], ["7 released"], plot=PLOT, taken=[taken])
    assert not LabelBox(*centre, 30, 6).meets(taken)


def test_a_label_that_finds_no_place_stays_beside_its_point() -> None:
    (centre,) = place_labels([(300.0, 170.0)], ["7"], plot=PLOT, taken=[LabelBox(320, 170, 1000, 1000)])
    assert math.dist(centre, (300.0, 170.0)) < 20


def test_a_line_leads_to_a_far_label_and_ends_at_its_edge() -> None:
    assert line_end((104.0, 100.0), "7", (90.0, 100.0)) == (90.0, 100.0)
    x, y = line_end((200.0, 100.0), "7", (100.0, 100.0))
    assert y == 100.0
    assert 190 < x < 200
