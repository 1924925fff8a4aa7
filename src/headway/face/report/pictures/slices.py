"""Slices: whether any part of the rows is harmed more than the whole shows."""

from __future__ import annotations

import math

import altair as alt

from headway.core.evidence import Measurement
from headway.core.verdict import Answer, Ruling
from headway.face import numbers, words
from headway.face.report.palette import LIGHT
from headway.face.report.pictures.drawing import TABLE, Picture, Size, picture, values
from headway.face.report.story import Story

LOSS = "brier.loss"
MOST = 14
"""Slices that are shown: the worst ones; the rest are counted."""
NAMES, NOTES, LETTER = 128, 96, 6.6
"""Pixels for the names left of the plot at most, for the rows right of it, and of a letter."""


def draw(story: Story) -> Picture | None:
    """The worst slices of the released variant against the model as it came; None for fewer than two."""
    if story.winner is None or not story.winner.variant.steps:
        return None
    found = of_slices(story)
    if len(found) < 2:
        return None
    ruling = ruling_on(story)
    limit = ruling.rule.at_most if ruling else None
    return picture(
        lambda size: _chart(found[:MOST], limit, size=size, groups=story.groups),
        name="slices",
        title=_title(found, ruling),
        alt=_alt(found[:MOST]),
        reading=_reading(story, found, limit),
    )


def of_slices(story: Story) -> list[Measurement]:
    """The loss of each slice of the winner that is large enough to be judged, what may be worst first."""
    found = [each for each in _named(story) if each.n_rows >= story.slice_rows and each.n_groups >= story.slice_groups]
    known = [each for each in found if math.isfinite(each.value) and numbers.has_interval(each)]
    return sorted(known, key=lambda measurement: -measurement.high)


def _named(story: Story) -> list[Measurement]:
    evidence = story.winner.evidence.measurements if story.winner else ()
    return [each for each in evidence if each.name == LOSS and each.slice]


def ruling_on(story: Story) -> Ruling | None:
    """What the judge said of the worst slice."""
    rulings = story.winner.verdict.rulings if story.winner else ()
    return next((each for each in rulings if each.rule.measure == f"worst_slice.{LOSS}"), None)


def _title(found: list[Measurement], ruling: Ruling | None) -> str:
    seen = ruling.measurement if ruling and ruling.measurement else found[0]
    worst = f"{seen.slice} with {numbers.measured(seen)}"
    if ruling is None:
        return f"{len(found)} slices against the model as it came; the worst is {worst}"
    says: dict[Answer, str] = {
        "pass": f"None of {len(found)} slices is harmed beyond the limit; nearest to it is",
        "fail": f"Of {len(found)} slices at least one is harmed beyond the limit; the worst is",
        "undecided": f"For some of {len(found)} slices the data cannot tell; the least sure is",
    }
    return f"{says[ruling.answer]} {worst}"


def _alt(found: list[Measurement]) -> str:
    ends = " to ".join(f"{one.slice} with {numbers.measured(one)}" for one in (found[0], found[-1]))
    return f"{words.title(LOSS)} of {len(found)} slices, the worst first: {ends}. {TABLE}"


def _reading(story: Story, found: list[Measurement], limit: float | None) -> tuple[str, ...]:
    lines = [
        f"Each line is a part of the rows. {words.title(LOSS)}: {words.meaning(LOSS)}",
        f"Lines are 95 % intervals; on the right, the rows and {story.groups} on which each rests.",
    ]
    if limit is not None:
        lines.append(f"Dashed: the limit that no slice may pass ({limit:g}).")
    if len(found) > MOST:
        lines.append(f"The {MOST} worst of {len(found)} slices are shown.")
    small = len(_named(story)) - len(found)
    if small:
        lines.append(
            f"Too small to be judged, with fewer than {story.slice_rows:,} rows or {story.slice_groups} "
            f"{story.groups}: {small} more."
        )
    return tuple(lines)


def _chart(found: list[Measurement], limit: float | None, *, size: Size, groups: str) -> alt.TopLevelMixin:
    rows: list[dict[str, object]] = [
        {
            "slice": one.slice,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "note": f"{one.n_rows:,} / {one.n_groups:,}",
        }
        for one in found
    ]
    ends = [end for one in found for end in (one.low, one.high)] + [0.0] + ([limit] if limit is not None else [])
    room = (max(ends) - min(ends)) * 0.06 or 0.001
    scale = alt.Scale(domain=(min(ends) - room, max(ends) + room), nice=False)
    names = min(NAMES, round(max(len(one.slice) for one in found) * LETTER) + 10)
    width = size.width - names - NOTES
    y = alt.Y("slice:N").sort(None).axis(title=None, minExtent=names, maxExtent=names, labelLimit=names - 8, grid=False)
    base = alt.Chart(values(rows)).encode(y=y)
    title = f"{words.title(LOSS)} (above 0 is worse)"
    x = alt.X("value:Q").scale(scale).axis(title=title, tickCount=3 if size.narrow else 6, grid=True, format="~g")
    layers = [
        *_lines(limit),
        base.mark_rule(strokeWidth=1.75, color=LIGHT["live"]).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(filled=True, size=60, color=LIGHT["live"], opacity=1).encode(x=x),
        base.mark_text(align="left", color=LIGHT["muted"], fontSize=11).encode(x=alt.value(width + 10), text="note:N"),
        alt.Chart(values([{}]))
        .mark_text(align="left", color=LIGHT["muted"], fontSize=11, text=f"rows / {groups}")
        .encode(x=alt.value(width + 10), y=alt.value(-9)),
    ]
    return alt.layer(*layers).properties(width=width, height=alt.Step(23))


def _lines(limit: float | None) -> list[alt.Chart]:
    zero = alt.Chart(values([{"x": 0.0}])).mark_rule(color=LIGHT["muted"]).encode(x="x:Q")
    if limit is None:
        return [zero]
    line = alt.Chart(values([{"x": limit, "says": f"limit {limit:g}"}]))
    return [
        zero,
        line.mark_rule(color=LIGHT["fail"], strokeDash=[5, 4], strokeWidth=1.5).encode(x="x:Q"),
        line.mark_text(color=LIGHT["fail"], align="right", dx=4).encode(x="x:Q", y=alt.value(-9), text="says:N"),
    ]
