"""What `headway watch` shows: a line a period and what it means, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from headway import pipeline
from headway.cli.output import callback, show
from headway.core.watch import Outlook, RowSource, Watch
from headway.registry.project import Project
from headway.reporting.text import numbers
from headway.reporting.text.sheets import Column, Line, Mood, Sheet, number_cell
from headway.reporting.text.tables import Laid

MOODS: dict[Outlook, Mood] = {"well": "pass", "moved": "plain", "worse": "fail", "unknown": "undecided"}
MEASURES = {"roc_auc": "AUC", "brier": "Brier", "ece": "ECE", "roc_auc.estimated": "AUC, estimated before labels"}
NOTHING = "no period has begun that has 20 groups, such as days, since the live release was judged"
ESTIMATE = "estimate without labels"
Looked = Callable[[], list[Watch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows are watched, as of when, and whether again and again."""

    until: datetime | None = None
    "Look as it stood then, with the labels that had come; without it, as it stands now."
    every: str = "1mo"
    "Length of a period: 1mo, 1q, 28d."
    source: RowSource = "table"
    "Whose rows: the project's table, or the log of what the servers really answered, with labels by key."
    follow: bool = False
    "Look again and again, and tell only what is new; Ctrl-C ends it."
    period: float = 60.0
    "Seconds between two looks that follow each other."


def watches_table(found: Sequence[Watch]) -> RenderableType:
    """Each period with its measures, then a sentence on each, then the parts that could not be said."""
    if not found:
        return Text(NOTHING)
    unknown = [f"{each.period}: {part}" for each in found for part in _unknown(each)]
    message = [Text(each.message) for each in found]
    tickets = [f"ticket: {each.ticket.why}" for each in found if each.ticket]
    return Group(Laid(watches(found)), *message, *(Text(line, style="dim") for line in unknown), *map(Text, tickets))


def looked(project: Project, asked: Asked, *, json: bool) -> list[Watch]:
    """Look at the project as it is asked, print what is seen, and give what was seen last."""

    def look() -> list[Watch]:
        return pipeline.watch(project, until=asked.until, every=asked.every, source=asked.source, callback=callback)

    def print_(found: list[Watch]) -> None:
        show(found, watches_table(found), json=json)

    if asked.follow:
        return follow(look, print_, period_s=asked.period, wait=time.sleep)
    found = look()
    print_(found)
    return found


def follow(
    look: Looked, show: Callable[[list[Watch]], None], *, period_s: float, wait: Callable[[float], object]
) -> list[Watch]:
    """Look again and again with a wait between two looks, and show what is new, until somebody interrupts.

    Returns what was seen last. A period is news where it is new, has ended, was judged or got a ticket: the counts of a
    period that goes on are not.
    """
    known: dict[tuple[str, str], object] = {}
    found: list[Watch] = []
    try:
        while True:
            found = look()
            news = [each for each in found if known.get(_key(each)) != _gist(each)]
            known |= {_key(each): _gist(each) for each in news}
            if news:
                show(news)
            wait(period_s)
    except KeyboardInterrupt:
        return found


def _key(watch: Watch) -> tuple[str, str]:
    return watch.release, watch.since


def _gist(watch: Watch) -> object:
    return watch.over, watch.outlook, watch.replies, bool(watch.ticket)


def _unknown(watch: Watch) -> list[str]:
    """The parts that could not be said; where labels told, nobody misses an estimate made without them."""
    told = watch.reply("harm") is not None
    return [part.message for part in watch.unknown if not (told and part.message.startswith(ESTIMATE))]


def watches(found: Sequence[Watch]) -> Sheet:
    """Period, outlook, rows with their labels, drift, quality, and cost a month against when it was judged."""
    rows = tuple(
        (
            (Line(text=each.period),),
            (Line(text=each.outlook, mood=MOODS[each.outlook]),),
            (Line(text=f"{each.n_rows:,}"), Line(text=f"{each.n_labelled:,} labelled", mood="quiet")),
            _drift(each),
            *(number_cell(each.find(name)) for name in MEASURES),
            number_cell(each.cost),
        )
        for each in found
    )
    titles = ("Period", "Outlook", "Rows", "Inputs", *MEASURES.values(), "More than when judged")
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _drift(watch: Watch) -> tuple[Line, ...]:
    """Whether the inputs are shown to have moved, and the p with the chance that it had to be below."""
    reply = watch.reply("drift")
    if watch.drift is None:
        return (Line(text="cannot say" if watch.over else "not yet judged"),)
    p = next(each.value for each in watch.drift.measurements if each.name == "drift.p" and not each.slice)
    limit = f", limit {numbers.number(reply.level)}" if reply else ""
    answer = "moved" if watch.drift.alarm else "no change shown"
    return Line(text=answer), Line(text=f"p {numbers.number(p)}{limit}", mood="quiet")
