"""How many rows there are over time, and which of them are to train, to choose, to test and to live by."""

from __future__ import annotations

from datetime import datetime

import altair as alt

from headway.core.assessment import Assessment, TimeBucket
from headway.reporting.charts.drawing import (
    LETTER,
    SEE_TABLE,
    ChartSize,
    RenderedChart,
    inline_data,
    panel_title,
    render_chart,
)
from headway.reporting.check.axes import bucket_name, buckets_axis
from headway.reporting.palette import LIGHT

BAND = 26


def draw_rows(found: Assessment) -> RenderedChart | None:
    """The picture; None where rows have no time."""
    if len(found.stretches) < 2:
        return None
    least = min(found.stretches, key=lambda stretch: stretch.n_rows)
    most = max(found.stretches, key=lambda stretch: stretch.n_rows)
    message = f"{found.n_rows:,} rows: from {least.n_rows:,} in {bucket_name(least)} to {most.n_rows:,} in {bucket_name(most)}"
    parts = "; ".join(f"{part.name} {part.n_rows:,} rows" for part in found.parts) or "no periods"
    return render_chart(
        lambda size: _chart(found, size),
        name="timeline",
        title=message,
        alt=f"{message}. The split: {parts}. {SEE_TABLE}",
        reading=(
            "Bars count rows. The band says which rows a model learns from (train), is chosen by (choose) and is "
            "judged on (test); live is what came after.",
            "A gap or a sudden fall is a feed that stopped. Periods in another order would let the "
            "future choose for the past.",
        ),
    )


def _chart(found: Assessment, size: ChartSize) -> alt.VConcatChart:
    stretches = found.stretches
    x = alt.X("from:Q").scale(domain=(0, len(stretches)), nice=False)
    bars = (
        alt.Chart(
            inline_data(
                [{"from": at + 0.1, "to": at + 0.9, "rows": stretch.n_rows} for at, stretch in enumerate(stretches)]
            )
        )
        .mark_bar(color=LIGHT["live"])
        .encode(
            x=x.axis(buckets_axis(stretches, size)),
            x2="to:Q",
            y=alt.Y("rows:Q").scale(zero=True).axis(title=None, format="~s", tickCount=4),
            y2=alt.Y2Datum(0),
        )
        .properties(width=size.plot, height=150, title="Rows")
    )
    band = _band(found, size)
    return alt.vconcat(*band, bars, spacing=8)


def _band(found: Assessment, size: ChartSize) -> list[alt.LayerChart]:
    """The split as boxes over the same places."""
    rows = [_box(part, found.stretches) for part in found.parts if part.since]
    if not rows:
        return []
    wide = size.plot / len(found.stretches)
    boxes = [{**row, "message": row["name"] if _fits(row, wide) else ""} for row in rows]
    base = alt.Chart(inline_data(boxes)).encode(
        x=alt.X("from:Q").scale(domain=(0, len(found.stretches)), nice=False).axis(None), x2="to:Q"
    )
    shown = base.mark_rect(fill=LIGHT["shade"], stroke=LIGHT["muted"], strokeWidth=1)
    text = alt.Chart(inline_data(boxes)).mark_text(fontSize=12).encode(x=alt.X("mid:Q"), text="message:N")
    return [alt.layer(shown, text).properties(width=size.plot, height=BAND, title=panel_title(["The split"]))]


def _fits(row: dict[str, object], wide: float) -> bool:
    return (float(str(row["to"])) - float(str(row["from"]))) * wide > len(str(row["name"])) * LETTER + 8


def _box(part: TimeBucket, stretches: tuple[TimeBucket, ...]) -> dict[str, object]:
    since, until = _place(part.since, stretches), _place(part.until, stretches)
    return {"name": part.name, "from": since, "to": until, "mid": (since + until) / 2}


def _place(moment: str, stretches: tuple[TimeBucket, ...]) -> float:
    """Where a time lies among the stretches: 2.5 is the middle of the third."""
    at = datetime.fromisoformat(moment)
    for place, stretch in enumerate(stretches):
        first, last = datetime.fromisoformat(stretch.since), datetime.fromisoformat(stretch.until)
        if at <= last:
            return place + max(0.0, (at - first) / max(last - first, datetime.resolution))
    return float(len(stretches))
