"""The trend: how many findings of each severity there were, assessment after assessment."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt

from headway.core.assessment import Assessment
from headway.reporting.charts.drawing import SEE_TABLE, ChartSize, RenderedChart, inline_data, render_chart
from headway.reporting.palette import LIGHT

ROWS = {"stop": "fail", "undecided": "undecided", "warn": "live", "note": "came"}
LAST = 12
STEP = 40


def draw_trend(kept: Sequence[Assessment]) -> RenderedChart | None:
    """The picture of the last twelve; None where there is but one."""
    if len(kept) < 2:
        return None
    first, last = kept[-LAST:][0], kept[-1]
    ends = ", ".join(f"{name} {first.count(name)} to {last.count(name)}" for name in ROWS)
    moved = [
        f"{first.count(name)} {name} became {last.count(name)}"
        for name in ROWS
        if first.count(name) != last.count(name)
    ]
    message = f"Since {first.at[:10]} {', '.join(moved)}" if moved else f"As many findings as on {first.at[:10]}"
    return render_chart(
        lambda size: _chart(kept[-LAST:], size),
        name="trend",
        title=message,
        alt=f"{message}: {ends}. {SEE_TABLE}",
        reading=(
            "A column is one check of the data, the latest on the right; the number is how many findings there were. A "
            "new number below is a new assessment: the source, the columns, the values or the settings had changed.",
            "A stop forbids training. What is undecided waits for a person's word.",
        ),
    )


def _chart(kept: Sequence[Assessment], size: ChartSize) -> alt.LayerChart:
    rows: list[dict[str, object]] = [
        {"at": place + 0.5, "severity": name, "count": assessment.count(name), "message": str(assessment.count(name))}
        for place, assessment in enumerate(kept)
        for name in ROWS
    ]
    shown = list(ROWS)
    y = alt.Y("severity:N").sort(shown).axis(title=None, minExtent=70, maxExtent=70, labelFontSize=12)
    x = alt.X("at:Q").scale(domain=(0, len(kept)), nice=False).axis(_axis(kept, size))
    tone = alt.Stroke("severity:N", legend=None).scale(domain=shown, range=[LIGHT[each] for each in ROWS.values()])
    base = alt.Chart(inline_data(rows))
    some = alt.Chart(inline_data([row for row in rows if row["count"]]))
    rings = some.mark_point(size=560, strokeWidth=2.5, fillOpacity=0).encode(x=x, y=y, stroke=tone)
    text = base.mark_text(fontSize=12).encode(x=x, y=y, text="message:N")
    return alt.layer(rings, text).properties(width=size.plot - 24, height=STEP * len(shown))


def _axis(kept: Sequence[Assessment], size: ChartSize) -> alt.Axis:
    labels = [f"No. {assessment.number}" for assessment in kept]
    return alt.Axis(
        title=f"Assessments from {kept[0].at[:10]} to {kept[-1].at[:10]}",
        values=[place + 0.5 for place in range(len(kept))],
        labelExpr=f"{json.dumps(labels)}[floor(datum.value)]",
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )
