"""Learning curve: the error by training round, on training rows and on held-out rows."""

from __future__ import annotations

import altair as alt

from headway.core.training import LearningCurve
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import (
    SEE_TABLE,
    ChartSize,
    encode_series,
    interval_range,
    interval_row,
    render_chart,
    rows_chart,
    value_axis,
)
from headway.reporting.colours import LIGHT
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section
from headway.reporting.text import curves, formatting, words


def plugin(report: ReportData) -> Section | None:
    """Return the section on the learning curve; None where the training drew none."""
    curve = report.curve
    if curve is None:
        return None
    return Section(
        title="Learning curve",
        order=45,
        prefixes=(),
        lead=f"During training, the model was evaluated on training rows and on held-out rows{_basis(curve)}. The test "
        f"set was not used. {curves.describe_cost(curve)}",
        conclusions=(curves.describe_curve(curve),),
        table=curves.tabulate_curve(curve),
        picture=lambda: draw_learning_curve(curve) if len(curve.rounds) > 1 else None,
    )


def _basis(curve: LearningCurve) -> str:
    if not curve.rounds:
        return ""
    seen = curve.rounds[-1].held_out[0]
    return f" ({seen.n_rows:,} rows, {seen.n_groups:,} groups)"


_HELD_OUT, _TRAINING = "held-out rows", "training rows"


def draw_learning_curve(curve: LearningCurve) -> RenderedChart:
    """Draw the error on training rows and on held-out rows by round."""
    first, last = (formatting.format_measurement(round.held_out[0]) for round in (curve.rounds[0], curve.rounds[-1]))
    ends = f"on held-out rows from {first} after round {curve.rounds[0].number} to {last} after the last"
    return render_chart(
        lambda size: _chart(curve, size),
        name="learning",
        title=curves.curve_title(curve),
        alt=f"{words.measure_title(curve.error)} by round: {ends}, {curve.rounds[-1].number}. {SEE_TABLE}",
        reading=(
            "Lower is better. The bands are 95 % intervals of each evaluation on its own.",
            "Where the held-out error rises while the training error falls, the model overfits. The sentence compares "
            "the same rows at two rounds, which is more precise than the bands.",
        ),
    )


def _chart(curve: LearningCurve, size: ChartSize) -> alt.LayerChart:
    rows = [
        interval_row(seen, round=round.number, series=name)
        for round in curve.rounds
        for name, learned in ((_HELD_OUT, False), (_TRAINING, True))
        if (seen := round.error(curve.error, learned=learned))
    ]
    series = encode_series(
        list(dict.fromkeys(str(row["series"]) for row in rows)),
        legend=alt.Legend(title=None, symbolType="stroke", symbolSize=400),
        color={_HELD_OUT: LIGHT["live"], _TRAINING: LIGHT["came"]},
        strokeDash={_HELD_OUT: [1, 0], _TRAINING: [5, 4]},
    )
    x = alt.X("round:Q").axis(title="Rounds of training", tickMinStep=1, format=",d")
    y = alt.Y("value:Q").scale(zero=False).axis(value_axis(*interval_range(rows), ticks=5))
    base = rows_chart(rows).encode(x=x, y=y, color=series["color"])
    layers = [
        base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q").scale(zero=False).axis(title=None), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(strokeDash=series["strokeDash"]),
    ]
    title = f"{words.measure_title(curve.error)}, with 95 % interval"
    return alt.layer(*layers).properties(width=size.plot, height=260 if size.narrow else 300, title=title)
