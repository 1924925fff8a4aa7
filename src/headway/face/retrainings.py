"""What `headway retrain` does in each mode, shows, and exits with."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from headway import flow
from headway.core.ticket import Ticket
from headway.core.training import Retraining
from headway.face.codes import OF_ANSWER, PASS, UNDECIDED
from headway.face.tables import rulings_table, shipped_lines
from headway.release.project import Project


class Done(NamedTuple):
    """What was done, in words for a person, and the exit code."""

    record: Ticket | Retraining | None
    text: RenderableType
    code: int


def carry_out(project: Project, mode: str, *, until: datetime | None, who: str, tell: flow.Tell) -> Done:
    """Without a ticket nothing; `suggest` tells it, `auto` trains, and makes live what is shown to be better."""
    ticket = flow.ticket_of(project)
    if ticket is None:
        return Done(None, Text("no ticket asks to train the live release anew: headway watch opens them"), PASS)
    if mode == "suggest":
        return Done(ticket, Text(suggestion(project, ticket)), UNDECIDED)
    tell(ticket.why)
    found = flow.retrain(project, until=until, tell=tell)
    verdict = found.frontier.winner.verdict
    lines: list[RenderableType] = [Text(found.says), rulings_table(verdict)]
    if verdict.answer == "pass":
        shipped = flow.release(project, found.frontier, who=who, why=found.says)
        lines.append(shipped_lines(shipped.move, shipped.enrolment.created))
    return Done(found, Group(*lines), OF_ANSWER[verdict.answer])


def suggestion(project: Project, ticket: Ticket) -> str:
    """What the ticket asks, what it costs, and what would be done."""
    retrain = project.config.retrain
    price = "its price was never measured" if ticket.price_s is None else f"about {ticket.price_s:,.1f} s of training"
    pays = {True: "it is expected to pay", False: "it is not expected to pay by itself", None: ""}[ticket.pays]
    lines = (
        f"ticket of {ticket.at[:10]}: {ticket.why}",
        f"to train anew: {retrain.seeds} seeds, {price}{f'; {pays}' if pays else ''}",
        f"the last {retrain.judged_days} labelled days are kept to judge it against live; only a pass makes it live",
        "do it: headway retrain --mode auto",
    )
    return "\n".join(lines)
