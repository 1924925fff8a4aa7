"""The stretches of time of an assessment side by side: what stands under each, and in words."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from headway.core.assessment import Assessment, TimeBucket
from headway.reporting import periods
from headway.reporting.charts.drawing import ChartSize
from headway.reporting.charts.spans import periods_axis


def buckets_of(found: Assessment) -> tuple[TimeBucket, ...]:
    """Those of time, else the parts of the split."""
    return found.stretches or found.parts


def bucket_name(stretch: TimeBucket) -> str:
    """A stretch in words: `September 2013`, or the part of the split."""
    return periods.period_name(stretch.name) if periods.is_dated(stretch.name) else stretch.name


def format_share(value: float) -> str:
    """A share in per cent: `12.3 %`."""
    return f"{value:.1%}".replace("%", " %")


def buckets_axis(stretches: Sequence[TimeBucket], size: ChartSize, *, shown: bool = True) -> alt.Axis:
    """The axis under as many places as there are stretches, each named in its middle."""
    return periods_axis([stretch.name for stretch in stretches], size, shown=shown)
