"""The axis under periods that stand side by side, in any picture."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt

from headway.reporting import periods
from headway.reporting.charts.drawing import ChartSize


def periods_axis(labels: Sequence[str], size: ChartSize, *, shown: bool = True) -> alt.Axis:
    """An axis with as many places as there are labels, each in the middle of its place; their years are its title."""
    years = sorted({label[:4] for label in labels})
    title = " to ".join(dict.fromkeys((years[0], years[-1]))) if all(year.isdigit() for year in years) else None
    return alt.Axis(
        title=title if shown else None,
        values=[place + 0.5 for place in range(len(labels))],
        labelExpr=f"{json.dumps([short_label(label) for label in labels])}[floor(datum.value)]",
        labels=shown,
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )


def short_label(label: str) -> str:
    """A month's first letters, a day without its year; a label of another form stays as it is."""
    if not periods.is_dated(label):
        return label
    name = periods.period_name(label).rpartition(" ")[0]
    return name[:3] if len(label) == 7 else label[5:]
