"""The band under the marks: what was live in each period, and what came before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from string import ascii_uppercase

import altair as alt

from headway.core.record import Record
from headway.reporting import periods
from headway.reporting.charts.drawing import LETTER, ChartSize, inline_data, panel_title, wrap_parts
from headway.reporting.palette import LIGHT
from headway.reporting.periods import Period
from headway.reporting.story import ReportData

LINE, MOST_LINES = 14, 2


class LiveSpan(Record, frozen=True, kw_only=True):
    """Neighbouring periods of which the same is said, from `start` to `end` on an axis of which each is 1 wide."""

    name: str
    live: bool
    start: int
    end: int
    first: str
    last: str


def live_spans(story: ReportData, found: Sequence[Period]) -> list[LiveSpan]:
    """What was live, by its name, and before that what the periods were used for; what is neither is left out."""
    made = []
    for (name, live), run in groupby(enumerate(found), key=lambda pair: _said(story, pair[1])):
        seen = list(run)
        (start, first), (end, last) = seen[0], seen[-1]
        if name:
            made.append(LiveSpan(name=name, live=live, start=start, end=end + 1, first=first.label, last=last.label))
    return made


def _said(story: ReportData, period: Period) -> tuple[str, bool]:
    if period.watch is not None:
        names = story.year.names if story.year else {}
        return names.get(period.watch.release, "live"), True
    return periods.describe_use(story, period.label), False


def live_band(found: Sequence[LiveSpan], count: int, size: ChartSize) -> list[alt.LayerChart]:
    """The band over `count` periods, named in words where they fit, else by letters that its heading tells."""
    if not found:
        return []
    named = [(run, _folded(run.name, (run.end - run.start) * size.plot / count)) for run in found]
    letters = dict(zip(dict.fromkeys(run.name for run, text in named if not text), ascii_uppercase, strict=False))
    height = LINE * max(text.count("\n") + 1 for _, text in named) + 8
    rows: list[dict[str, object]] = [
        {"from": run.start, "to": run.end, "mid": (run.start + run.end) / 2, "live": run.live}
        | {"message": text or letters.get(run.name, ""), "y": (height - LINE * text.count("\n")) / 2}
        for run, text in named
    ]
    base = alt.Chart(inline_data(rows)).encode(x=alt.X("from:Q").scale(domain=(0, count), nice=False).axis(None))
    tone = alt.Fill("live:N", legend=None).scale(domain=[False, True], range=[LIGHT["paper"], LIGHT["shade"]])
    y = alt.Y("y:Q").scale(domain=(height, 0), nice=False).axis(None)
    boxes = base.mark_rect(stroke=LIGHT["muted"], strokeWidth=1).encode(x2="to:Q", fill=tone)
    names = alt.Chart(inline_data(rows)).mark_text(lineBreak="\n", lineHeight=LINE, fontSize=11, baseline="middle")
    told = names.encode(x="mid:Q", y=y, text="message:N")
    heading = [f"{letter}: {name}" for name, letter in letters.items()]
    title = panel_title(wrap_parts(["What was live", *heading], size.width))
    return [alt.layer(boxes, told).properties(width=size.plot, height=height, title=title)]


def _folded(name: str, width: float) -> str:
    """A name in at most MOST_LINES lines of that many pixels; empty where it does not fit."""
    lines = wrap_parts(name.split(), width - 6, between=" ")
    fits = len(lines) <= MOST_LINES and all(len(line) * LETTER <= width - 4 for line in lines)
    return "\n".join(lines) if fits else ""
