"""Small charts that are written as SVG directly: pages that answer within 200 ms cannot wait for the chart library.

Their colours are attributes with the light values, which the stylesheet repaints in dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from headway.core.evidence import Measurement
from headway.evaluation.explore import CurvePoint
from headway.reporting.colours import LIGHT
from headway.reporting.text import formatting

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 40
Point = tuple[float, float]


def band_chart(curve: Sequence[CurvePoint], *, at: float) -> str:
    """Return the cost of a decision by threshold, with its 95 % band and a line at a threshold."""
    top = max(point.high for point in curve) or 1.0
    first, last = curve[0].threshold, curve[-1].threshold
    frame = _Frame(x=(first, last if last > first else first + 1.0), y=(0.0, top))
    upper = [frame.point(point.threshold, point.high) for point in curve]
    lower = [frame.point(point.threshold, point.low) for point in curve]
    now = min(curve, key=lambda point: abs(point.threshold - at))
    x, y = frame.point(now.threshold, now.value)
    cheapest = min(curve, key=lambda point: point.value)
    alt = (
        f"Cost of a decision by threshold: {formatting.format_number(now.value)} at {now.threshold:.3g}, lowest "
        f"{formatting.format_number(cheapest.value)} at {cheapest.threshold:.3g}."
    )
    parts = [
        *frame.axes("Threshold", "Cost of a decision, with 95 % interval"),
        f'<polygon points="{_points([*upper, *reversed(lower)])}" fill="{LIGHT["live"]}" fill-opacity="0.2"/>',
        _line([frame.point(point.threshold, point.value) for point in curve], LIGHT["live"]),
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="{LIGHT["ink"]}"'
        ' stroke-dasharray="4 3"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{LIGHT["live"]}"/>',
    ]
    return _svg(parts, alt)


def calibration_chart(bins: Sequence[tuple[float, Measurement]]) -> str:
    """Return the observed share against the mean prediction of each bin, with its 95 % interval and the diagonal."""
    top = min(1.0, math.ceil(10 * max(max(predicted, seen.high) for predicted, seen in bins)) / 10)
    frame = _Frame(x=(0.0, top), y=(0.0, top))
    drawn = []
    for predicted, seen in bins:
        x, y = frame.point(predicted, seen.value)
        low, high = (frame.point(predicted, min(end, top))[1] for end in (seen.low, seen.high))
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{LIGHT["live"]}"/>')
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{LIGHT["live"]}"/>')
    first, last = bins[0], bins[-1]
    alt = "Calibration: " + ", ".join(
        f"{seen.value:.2f} observed where {predicted:.2f} was predicted" for predicted, seen in (first, last)
    )
    parts = [
        *frame.axes("Predicted probability", "Observed share, with 95 % interval"),
        _line([frame.point(0.0, 0.0), frame.point(top, top)], LIGHT["muted"]),
        *drawn,
    ]
    return _svg(parts, f"{alt}.")


class _Frame:
    """The plot: its ranges, and the pixels of a point."""

    def __init__(self, *, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y

    def point(self, x: float, y: float) -> Point:
        """Return the pixel of a point."""
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def axes(self, x_title: str, y_title: str) -> list[str]:
        """Return grid, ticks and titles."""
        found = [_text(LEFT, 14, y_title, colour="ink", anchor="start")]
        for value in _ticks(*self._y):
            _, y = self.point(self._x[0], value)
            found.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LIGHT["line"]}"/>')
            found.append(_text(LEFT - 6, y + 4, f"{value:g}", anchor="end"))
        for value in _ticks(*self._x):
            x, _ = self.point(value, self._y[0])
            found.append(_text(x, HEIGHT - BOTTOM + 16, f"{value:g}", anchor="middle"))
        return [*found, _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_title, colour="ink", anchor="middle")]


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between two."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step - 1e-9)
    return [round(count * step, 12) for count in range(first, math.floor(high / step + 1e-9) + 1)]


def _text(x: float, y: float, text: str, *, anchor: str, colour: str = "muted") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="13"'
        f' fill="{LIGHT[colour]}">{escape(text)}</text>'
    )


def _line(points: Sequence[Point], colour: str) -> str:
    return f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(parts: Sequence[str], alt: str) -> str:
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(alt)}" {size}>{"".join(parts)}</svg>'
    )
