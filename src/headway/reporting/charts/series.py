"""The two models that pictures compare, told apart by colour, by shape and by dash."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from headway.reporting.palette import LIGHT

BASELINE = "model as it came"
Row = dict[str, object]
_LEGEND = alt.Legend(title=None, symbolStrokeWidth=0, symbolSize=110)


def series_color(rows: Sequence[Row], *, legend: bool = True) -> alt.Color:
    """The colour of a row's `series`: of the model as it came, or of the winner, whatever that is called."""
    scale = _scale(rows, LIGHT["live"], LIGHT["came"])
    return alt.Color("series:N", scale=scale, legend=_LEGEND if legend else None)


def series_shape(rows: Sequence[Row], *, legend: bool = True) -> alt.Shape:
    """The shape of a row's `series`, in one legend with its colour."""
    scale = _scale(rows, "circle", "square")
    return alt.Shape("series:N", scale=scale, legend=_LEGEND if legend else None)


def series_dash(rows: Sequence[Row]) -> alt.StrokeDash:
    """The dash of a row's `series`."""
    return alt.StrokeDash("series:N", scale=_scale(rows, [1, 0], [5, 4]), legend=None)


def _scale(rows: Sequence[Row], winner: object, came: object) -> alt.Scale:
    names = sorted({str(row["series"]) for row in rows}, key=lambda name: name == BASELINE)
    return alt.Scale(domain=names, range=[came if name == BASELINE else winner for name in names])
