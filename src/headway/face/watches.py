"""The table of a watch: a line a period, and under it what it means."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from headway.core.watch import Outlook, Watch
from headway.face import numbers
from headway.face.sheets import Column, Line, Mood, Sheet, number_cell
from headway.face.tables import Laid

MOODS: dict[Outlook, Mood] = {"well": "pass", "moved": "plain", "worse": "fail", "unknown": "undecided"}
MEASURES = {"roc_auc": "AUC", "brier": "Brier", "ece": "ECE", "roc_auc.estimated": "AUC, estimated before labels"}


def watches_table(found: Sequence[Watch]) -> RenderableType:
    """Each period with its measures, then a sentence on each, then the parts that could not be said."""
    if not found:
        return Text("no period has begun since the live release was judged")
    unknown = [f"{each.period}: {part.says}" for each in found for part in each.unknown]
    says = [Text(each.says) for each in found]
    tickets = [f"ticket: {each.ticket.why}" for each in found if each.ticket]
    return Group(Laid(watches(found)), *says, *(Text(line, style="dim") for line in unknown), *map(Text, tickets))


def watches(found: Sequence[Watch]) -> Sheet:
    """Period, outlook, rows with their labels, drift, quality, and cost a month against when it was judged."""
    rows = tuple(
        (
            (Line(text=each.period),),
            (Line(text=each.outlook, mood=MOODS[each.outlook]),),
            (Line(text=f"{each.n_rows:,}"), Line(text=f"{each.n_labelled:,} labelled", mood="quiet")),
            (Line(text=_drift(each)),),
            *(number_cell(each.find(name)) for name in MEASURES),
            number_cell(each.cost),
        )
        for each in found
    )
    titles = ("Period", "Outlook", "Rows", "Inputs", *MEASURES.values(), "More than when judged")
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _drift(watch: Watch) -> str:
    if watch.drift is None:
        return "cannot say"
    p = next(each.value for each in watch.drift.measurements if each.name == "drift.p" and not each.slice)
    return f"{'moved' if watch.drift.alarm else 'as judged'} (p {numbers.number(p)})"
