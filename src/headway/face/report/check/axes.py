"""The stretches of time of an assessment side by side: what stands under each, and in words."""

from __future__ import annotations

import json
from collections.abc import Sequence

import altair as alt

from headway.core.assessment import Assessment, Stretch
from headway.face.report import periods
from headway.face.report.pictures.drawing import Size


def stretches_of(found: Assessment) -> tuple[Stretch, ...]:
    """Those of time, else the parts of the split."""
    return found.stretches or found.parts


def named(stretch: Stretch) -> str:
    """A stretch in words: `September 2013`, or the part of the split."""
    return periods.name_of(stretch.name) if periods.is_dated(stretch.name) else stretch.name


def share(value: float) -> str:
    """A share in per cent: `12.3 %`."""
    return f"{value:.1%}".replace("%", " %")


def stretches_axis(stretches: Sequence[Stretch], size: Size, *, shown: bool = True) -> alt.Axis:
    """The axis under as many places as there are stretches, each named in its middle."""
    labels = [_short(each.name) for each in stretches]
    years = sorted({each.name[:4] for each in stretches})
    title = " to ".join(dict.fromkeys((years[0], years[-1]))) if all(year.isdigit() for year in years) else None
    return alt.Axis(
        title=title if shown else None,
        values=[place + 0.5 for place in range(len(stretches))],
        labelExpr=f"{json.dumps(labels)}[floor(datum.value)]",
        labels=shown,
        ticks=False,
        labelFontSize=11 if size.narrow else 12,
        labelOverlap=True,
    )


def _short(label: str) -> str:
    if not periods.is_dated(label):
        return label
    name = periods.name_of(label).rpartition(" ")[0]
    return name[:3] if len(label) == 7 else label[5:]
