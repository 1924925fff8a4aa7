"""The numbered marks over the year: one for each moment, its shape by what happened."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from headway.reporting import periods
from headway.reporting.charts.drawing import ChartSize, inline_data, panel_title
from headway.reporting.palette import LIGHT
from headway.reporting.periods import Period
from headway.reporting.story import Event, EventKind

BADGE, STEP = 20, 27
"""Pixels of a mark, and those from one to the next where they lie one over the other."""

NAMES: dict[EventKind, str] = {
    "drift": "drift found",
    "worse": "found worse",
    "taken back": "taken back",
    "ticket": "ticket opened",
    "retrained": "trained anew",
    "live": "made live",
    "other": "other",
}
_PATHS: dict[EventKind, str] = {
    "drift": "M0,-1.3L1.3,0.9L-1.3,0.9Z",
    "worse": "M0,1.3L1.3,-0.9L-1.3,-0.9Z",
    "taken back": "M-0.95,-0.95L0.95,-0.95L0.95,0.95L-0.95,0.95Z",
    "ticket": "M0,-1.3L1.3,0L0,1.3L-1.3,0Z",
    "retrained": "M1.05,0A1.05,1.05,0,1,1,-1.05,0A1.05,1.05,0,1,1,1.05,0Z",
    "live": "M0,-1.2L1.15,-0.35L0.75,1L-0.75,1L-1.15,-0.35Z",
    "other": "M-0.6,-1L0.6,-1L1.15,0L0.6,1L-0.6,1L-1.15,0Z",
}
_COLOURS: dict[EventKind, str] = {
    "drift": LIGHT["undecided"],
    "worse": LIGHT["fail"],
    "taken back": LIGHT["fail"],
    "ticket": LIGHT["undecided"],
    "retrained": LIGHT["live"],
    "live": LIGHT["pass"],
    "other": LIGHT["muted"],
}


def numbered_events(found: Sequence[Event]) -> list[tuple[int, Event]]:
    """The moments with the numbers by which marks and list name them, from 1."""
    return list(enumerate(found, 1))


def event_badge(kind: EventKind) -> str:
    """The mark of a kind alone, as the text of an SVG, for a number to be laid upon; a reader aloud passes it."""
    return (
        '<svg class="badge" aria-hidden="true" width="34" height="34" viewBox="-17 -17 34 34">'
        f'<path d="{_PATHS[kind]}" transform="scale(12)" vector-effect="non-scaling-stroke" '
        f'fill="{LIGHT["paper"]}" stroke="{_COLOURS[kind]}" stroke-width="2"/></svg>'
    )


def event_marks(found: Sequence[Event], over: Sequence[Period], size: ChartSize) -> list[alt.LayerChart]:
    """A lane of marks over the periods in which the moments lie; those of other times are in the list alone."""
    placed = [(number, each, periods.axis_position(over, each.at)) for number, each in numbered_events(found)]
    rows = _levelled([(number, each, at) for number, each, at in placed if at is not None], size.plot / len(over))
    if not rows:
        return []
    height = STEP * (1 + max(int(str(row["level"])) for row in rows)) + 4
    x = alt.X("at:Q").scale(domain=(0, len(over)), nice=False).axis(None)
    y = alt.Y("y:Q").scale(domain=(0, height), nice=False).axis(None)
    kinds = [kind for kind in NAMES if any(row["kind"] == NAMES[kind] for row in rows)]
    names, key = (
        [NAMES[kind] for kind in kinds],
        alt.Legend(title=None, symbolSize=110, columns=3 if size.narrow else 0),
    )
    shape = alt.Shape("kind:N", legend=key).scale(domain=names, range=[_PATHS[kind] for kind in kinds])
    stroke = alt.Stroke("kind:N", legend=key).scale(domain=names, range=[_COLOURS[kind] for kind in kinds])
    base = alt.Chart(inline_data(rows)).encode(x=x, y=y)
    badges = base.mark_point(size=BADGE**2, strokeWidth=2, fill=LIGHT["paper"], opacity=1)
    texts = base.mark_text(fontSize=11, fontWeight="bold", baseline="middle", dy=1)
    layers = (badges.encode(shape=shape, stroke=stroke), texts.encode(text="number:N"))
    return [alt.layer(*layers).properties(width=size.plot, height=height, title=panel_title(["What happened"]))]


def _levelled(found: Sequence[tuple[int, Event, float]], width: float) -> list[dict[str, object]]:
    """Each mark as low as it can lie beside those before it; `width` is that of a period in pixels."""
    rows: list[dict[str, object]] = []
    taken: dict[int, list[float]] = {}
    for number, each, at in found:
        level = next(n for n in range(len(found)) if all(abs(at - other) * width >= STEP for other in taken.get(n, [])))
        taken.setdefault(level, []).append(at)
        rows.append(
            {"number": str(number), "kind": NAMES[each.kind], "at": at, "level": level, "y": STEP * (level + 0.5)}
        )
    return rows
