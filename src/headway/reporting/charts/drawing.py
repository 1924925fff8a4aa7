"""From an Altair chart to the text of an SVG: one look for every picture, drawn on this machine alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html import escape

import altair
import vl_convert

from headway.core.record import Record
from headway.reporting.palette import LIGHT

FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
MARGIN = 46
"""Pixels left of the plot, where the numbers of the y axis stand."""

LETTER = 5.8
"""Pixels that a letter of 11 px takes on average."""

SEE_TABLE = "Every number is in the table below."
"""Where a text alternative sends who wants more than its first and last number."""


class ChartSize(Record, frozen=True, kw_only=True):
    """The room for a picture: its width in pixels, and whether it is that of a telephone."""

    name: str
    width: int
    narrow: bool = False

    @property
    def plot(self) -> int:
        """Pixels of width between the y axis and the right edge."""
        return self.width - MARGIN - 12


WIDE = ChartSize(name="wide", width=700)
NARROW = ChartSize(name="narrow", width=346, narrow=True)


class RenderedChart(Record, frozen=True, kw_only=True):
    """A picture with its finding as title, a text for who cannot see it, how to read it, and an SVG for each size."""

    name: str
    title: str
    alt: str
    reading: tuple[str, ...]
    wide: str
    narrow: str


def render_chart(
    chart: Callable[[ChartSize], altair.TopLevelMixin], *, name: str, title: str, alt: str, reading: Sequence[str]
) -> RenderedChart:
    """Draw a chart in both sizes; `chart` gives the Altair chart for a size."""
    wide, narrow = (_svg(chart(size), name=f"{name}-{size.name}", alt=alt) for size in (WIDE, NARROW))
    return RenderedChart(name=name, title=title, alt=alt, reading=tuple(reading), wide=wide, narrow=narrow)


def inline_data(rows: Sequence[dict[str, object]]) -> altair.InlineData:
    """Rows as the data of a chart; every value is written into the specification."""
    return altair.InlineData(values=list(rows))


def axis_format(low: float, high: float, *, ticks: int) -> str:
    """The format of an axis from `low` to `high` that gives all its numbers as many decimals as their steps need."""
    step = (high - low) / ticks or 1.0
    return f".{max(0, -math.floor(math.log10(step)))}f"


def wrap_parts(parts: Sequence[str], width: float, *, between: str = ", ") -> list[str]:
    """Parts joined into lines of at most that many pixels, as far as they can be."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{between}{part}"
        lines = [*lines[:-1], longer] if len(longer) * LETTER <= width else [*lines, part]
    return lines


def panel_title(lines: Sequence[str]) -> altair.TitleParams:
    """The heading of a panel that has no y axis, where those of panels with one stand."""
    return altair.TitleParams(text=list(lines), dx=-MARGIN)


def _svg(chart: altair.TopLevelMixin, *, name: str, alt: str) -> str:
    svg: str = vl_convert.vegalite_to_svg({**chart.to_dict(validate=False), "config": _CONFIG}, allowed_base_urls=[])
    return _named(_own_ids(svg, name), alt)


def _own_ids(svg: str, name: str) -> str:
    """The ids of an SVG made its own: several stand in one page, and Vega numbers each from 0."""
    for old in dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)):
        svg = svg.replace(f'id="{old}"', f'id="{name}-{old}"').replace(f"url(#{old})", f"url(#{name}-{old})")
    return svg


def _named(svg: str, alt: str) -> str:
    """The SVG as one image with a text alternative, whose parts have no role of their own."""
    svg = re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", svg)
    return re.sub(
        r"<svg [^>]*?(?=width=)",
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(alt)}" ',
        svg,
        count=1,
    )


_TEXT = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": 12, "titleFontSize": 12}
_CONFIG: dict[str, object] = {
    "aria": False,
    "background": None,
    "font": FONT,
    "padding": {"left": 0, "right": 4, "top": 4, "bottom": 4},
    "view": {"stroke": None},
    "axis": {
        **_TEXT,
        "labelColor": LIGHT["muted"],
        "titleColor": LIGHT["ink"],
        "titleFontWeight": "normal",
        "domainColor": LIGHT["muted"],
        "gridColor": LIGHT["line"],
        "tickColor": LIGHT["muted"],
        "labelPadding": 5,
        "titlePadding": 8,
    },
    "axisY": {
        "domain": False,
        "ticks": False,
        "minExtent": MARGIN,
        "maxExtent": MARGIN,
    },
    "axisX": {"grid": False},
    "legend": {
        **_TEXT,
        "labelColor": LIGHT["ink"],
        "titleColor": LIGHT["muted"],
        "titleFontWeight": "normal",
        "orient": "top",
        "titleOrient": "left",
        "titleLimit": 0,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "offset": 6,
    },
    "title": {
        "font": FONT,
        "fontSize": 12,
        "fontWeight": "normal",
        "color": LIGHT["ink"],
        "anchor": "start",
        "frame": "bounds",
        "offset": 8,
    },
    "text": {"font": FONT, "fontSize": 12, "color": LIGHT["ink"]},
}
