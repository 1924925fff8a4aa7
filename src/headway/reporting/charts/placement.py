"""Places for the labels of points, so that no label lies on a point or on another label."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

LETTER, LINE = 6.4, 14.0
"""Pixels that a letter of 12 px takes on average, and those of a line."""
CLOSE = 14.0
"""A label nearer than that to its point needs no line to it."""


class LabelBox(NamedTuple):
    """A rectangle in pixels: centre and half sizes."""

    x: float
    y: float
    half_width: float
    half_height: float

    def meets(self, other: LabelBox) -> bool:
        """Whether the two share a pixel."""
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )

    def inside(self, width: float, height: float) -> bool:
        """Whether it lies within a plot of that size, from (0, 0)."""
        return (
            self.half_width <= self.x <= width - self.half_width
            and self.half_height <= self.y <= height - self.half_height
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    plot: tuple[float, float],
    taken: Sequence[LabelBox] = (),
) -> list[tuple[float, float]]:
    """The centre of each text, near its point, in pixels; `plot` is width and height, `taken` may not be covered.

    Greedy and in the order given: of the places on rings of growing radius the first that covers no point, label or
    taken box, if there is one the first whose line to the point crosses no other label or line. A label that finds
    none stays beside its point.
    """
    solid = [LabelBox(x, y, 8.0, 8.0) for x, y in points] + list(taken)
    labels: list[LabelBox] = []
    lines: list[LabelBox] = []
    for point, text in zip(points, texts, strict=True):
        half_width = len(text) * LETTER / 2
        places = [LabelBox(x, y, half_width + 2, LINE / 2) for x, y in _around(*point, half_width)]
        free = [box for box in places if box.inside(*plot) and not _meets(box, solid)]
        clear = (
            box for box in free if not _meets(box, lines) and not any(_meets(dot, labels) for dot in _line(point, box))
        )
        chosen = next(clear, (free or places)[0])
        labels.append(chosen)
        solid.append(chosen)
        lines += _line(point, chosen)
    return [(box.x, box.y) for box in labels]


def _meets(box: LabelBox, others: Sequence[LabelBox]) -> bool:
    return any(box.meets(other) for other in others)


def _line(point: tuple[float, float], box: LabelBox) -> list[LabelBox]:
    """The line from a point to its label as dots, but for its ends."""
    shares = [step / 12 for step in range(2, 11)]
    dots = [LabelBox(point[0] + (box.x - point[0]) * s, point[1] + (box.y - point[1]) * s, 1.0, 1.0) for s in shares]
    return [dot for dot in dots if not dot.meets(box)]


def line_end(centre: tuple[float, float], text: str, point: tuple[float, float]) -> tuple[float, float]:
    """Where a line from the point to its label ends: at the label's edge; at the point itself where they are close."""
    dx, dy = centre[0] - point[0], centre[1] - point[1]
    reach = max(abs(dx) / (len(text) * LETTER / 2 + 2), abs(dy) / (LINE / 2))
    length = math.hypot(dx, dy) * (1 - 1 / max(reach, 1.0))
    if length < CLOSE:
        return point
    share = 1 - 1 / reach
    return point[0] + dx * share, point[1] + dy * share


def _around(x: float, y: float, half_width: float) -> Iterator[tuple[float, float]]:
    """Centres of a label around a point: right, left, above, below and between, then the same further out."""
    for gap in (11.0, 18.0, 28.0, 40.0, 54.0, 70.0, 90.0):
        for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 5, 11, 13):
            angle = turn * math.pi / 8
            yield x + math.cos(angle) * (gap + half_width), y - math.sin(angle) * (gap + LINE / 2)
