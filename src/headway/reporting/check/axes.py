"""The stretches of time of an assessment side by side: what stands under each, and in words."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from headway.core.assessment import Assessment, Stretch
from headway.reporting import periods
from headway.reporting.charts.drawing import Size
from headway.reporting.charts.spans import spans_axis


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
    return spans_axis([each.name for each in stretches], size, shown=shown)
