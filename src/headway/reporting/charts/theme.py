"""One theme for all charts: colours, fonts, sizes, axes and legends, and the conversion of Altair charts to SVG.

Docs: docs/decisions/0057-charts-are-altair.md
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import altair as alt
import vl_convert
from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.verdict import Answer
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.colours import LIGHT
from headway.reporting.text import formatting

ANSWERS: tuple[Answer, ...] = ("pass", "undecided", "fail")
SHAPES: dict[Answer, str] = {"pass": "circle", "undecided": "triangle-up", "fail": "cross"}


FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
MARGIN = 46
"""Pixels left of the plot, for the numbers of the y axis."""
SEE_TABLE = "Every number is in the table below."
"""Last sentence of a text alternative."""
TICK = 38
"""Pixels between two labels of a logarithmic axis at least."""

Row = dict[str, object]


class ChartSize(Record, frozen=True, kw_only=True):
    """The width of a chart in pixels, and whether it is for a phone."""

    name: str
    width: int
    narrow: bool = False

    @property
    def plot(self) -> int:
        """Width in pixels between the y axis and the right edge."""
        return self.width - MARGIN - 12


WIDE = ChartSize(name="wide", width=700)
NARROW = ChartSize(name="narrow", width=346, narrow=True)


def render_chart(
    chart: Callable[[ChartSize], alt.TopLevelMixin],
    *,
    name: str,
    title: str,
    alt: str,
    reading: Sequence[str],
    interactive: Callable[[ChartSize], alt.TopLevelMixin] | None = None,
) -> RenderedChart:
    """Render a chart in both sizes; `chart` returns the Altair chart for a size, `alt` is its text alternative.

    With `interactive`, which returns the chart that a browser draws, the result has its specifications too.
    """
    wide, narrow = (_svg(chart(size), name=f"{name}-{size.name}", alt=alt) for size in (WIDE, NARROW))
    drawn = RenderedChart(name=name, title=title, alt=alt, reading=tuple(reading), wide=wide, narrow=narrow)
    if interactive is None:
        return drawn
    wide_spec, narrow_spec = (_spec(interactive(size)) for size in (WIDE, NARROW))
    return replace(drawn, wide_spec=wide_spec, narrow_spec=narrow_spec)


def rows_chart(rows: Sequence[Row]) -> alt.Chart:
    """Return a chart on inline data."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def interval_row(measurement: Measurement, *, scale: float = 1.0, **fields: object) -> Row:
    """Return `value`, `low` and `high` of a measurement, and `fields`; without an interval all three are the value."""
    value, low, high = measurement.value, measurement.low, measurement.high
    low, high = (low, high) if formatting.has_interval(measurement) else (value, value)
    return {"value": value * scale, "low": low * scale, "high": high * scale, **fields}


def interval_range(rows: Sequence[Row], *values: float | None) -> tuple[float, float]:
    """Return the lowest and highest of the intervals and of the other values that are known."""
    ends = [float(str(row[key])) for row in rows for key in ("low", "high")]
    ends += [value for value in values if value is not None]
    return min(ends, default=0.0), max(ends, default=1.0)


_CHANNELS: dict[str, Any] = {
    "color": alt.Color,
    "fill": alt.Fill,
    "stroke": alt.Stroke,
    "shape": alt.Shape,
    "strokeDash": alt.StrokeDash,
}


def encode_series(
    names: Sequence[object], *, legend: alt.Legend | None, field: str = "series", **ranges: Mapping[Any, object]
) -> dict[str, Any]:
    """Return encodings of a nominal field with one legend.

    `ranges` are channels (`color`), each with a value by name.
    """
    return {
        channel: _CHANNELS[channel](f"{field}:N", legend=legend).scale(
            domain=list(names), range=[values[name] for name in names]
        )
        for channel, values in ranges.items()
    }


def index_x(field: str, count: int, axis: alt.Axis | None = None) -> alt.X:
    """Return the x channel over `count` places, each 1 wide."""
    return alt.X(f"{field}:Q").scale(domain=(0, count), nice=False).axis(axis)


def index_axis(labels: Sequence[str], size: ChartSize, *, title: str | None, shown: bool = True) -> alt.Axis:
    """Return an axis with one label per place."""
    return alt.Axis(
        title=title if shown else None,
        values=[index + 0.5 for index in range(len(labels))],
        labelExpr=f"{json.dumps(labels)}[floor(datum.value)]",
        labels=shown,
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )


def period_axis(labels: Sequence[str], size: ChartSize, *, shown: bool = True) -> alt.Axis:
    """Return an axis with one label per period; the years are its title."""
    years = sorted({label[:4] for label in labels})
    title = " to ".join(dict.fromkeys((years[0], years[-1]))) if all(year.isdigit() for year in years) else None
    return index_axis([_short_label(label) for label in labels], size, title=title, shown=shown)


def _short_label(label: str) -> str:
    """Return the first letters of a month, or a day without its year; other labels are unchanged."""
    if not formatting.is_dated(label):
        return label
    name = formatting.period_name(label).rpartition(" ")[0]
    return name[:3] if len(label) == 7 else label[5:]


def value_axis(low: float, high: float, *, ticks: int = 4) -> alt.Axis:
    """Return an axis without title whose labels have as many decimals as the steps from `low` to `high` need."""
    step = (high - low) / ticks or 1.0
    return alt.Axis(title=None, format=f".{max(0, -math.floor(math.log10(step)))}f", tickCount=ticks)


def count_axis(*, ticks: int) -> alt.Axis:
    """Return an axis of counts: 0, 500, 10k, 2M."""
    return alt.Axis(title=None, labelExpr="datum.value ? format(datum.value, '~s') : '0'", tickCount=ticks)


def log_ticks(low: float, high: float, width: float) -> list[float]:
    """Return the ticks of a logarithmic axis of `width` pixels: as many digits per decade as their labels fit."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [value for power in powers for digit in digits if low <= (value := digit * 10.0**power) <= high]
        if all(math.log(after / before) / math.log(high / low) * width > TICK for before, after in pairwise(ticks)):
            return ticks
    return []


def text_width(text: str, font_size: int = 12) -> float:
    """Return the pixels that a text takes on average."""
    return len(text) * 0.53 * font_size


def wrap_parts(parts: Sequence[str], width: float, *, between: str = ", ", font_size: int = 12) -> list[str]:
    """Join parts into lines of at most `width` pixels where possible."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{between}{part}"
        lines = [*lines[:-1], longer] if text_width(longer, font_size) <= width else [*lines, part]
    return lines


def panel_title(*parts: str, size: ChartSize, has_axis: bool = True) -> alt.TitleParams:
    """Return the title of a panel, wrapped at the width of the picture.

    Without y axis it is aligned with those that have one.
    """
    return alt.TitleParams(text=wrap_parts(parts, size.width), dx=0 if has_axis else -MARGIN)


def _svg(chart: alt.TopLevelMixin, *, name: str, alt: str) -> str:
    svg: str = vl_convert.vegalite_to_svg({**chart.to_dict(validate=False), "config": _CONFIG}, allowed_base_urls=[])
    return _named(_own_ids(svg, name), alt)


def _spec(chart: alt.TopLevelMixin) -> str:
    """Return a chart as JSON in which no text can end a `script` element."""
    return json.dumps({**chart.to_dict(validate=False), "config": _CONFIG}).replace("<", "\\u003c")


def browser_scripts(snippet: str) -> str:
    """Return a script with the libraries that draw charts in a browser, as far as the snippet uses them."""
    scripts: str = vl_convert.javascript_bundle(snippet)
    return scripts


def _own_ids(svg: str, name: str) -> str:
    """Prefix the ids of an SVG, because a page holds several and Vega numbers each from 0."""
    for old in dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg)):
        svg = svg.replace(f'id="{old}"', f'id="{name}-{old}"').replace(f"url(#{old})", f"url(#{name}-{old})")
    return svg


def _named(svg: str, alt: str) -> str:
    """Mark the SVG as one image with a text alternative and remove the roles of its parts."""
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
        "labelLimit": 0,
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
