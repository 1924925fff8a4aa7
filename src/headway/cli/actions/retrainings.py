"""What `headway retrain` does in each mode, shows, and exits with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from getpass import getuser
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from headway import pipeline
from headway.cli.exit_codes import FAIL, OF_ANSWER, PASS, UNDECIDED
from headway.core.errors import ConfigError
from headway.core.ticket import Ticket
from headway.core.training import Renewal, Stands
from headway.monitoring.retraining import succession
from headway.registry.project import Project
from headway.reporting.text.tables import rulings_table, shipped_lines

OF_STANDS: dict[Stands, int] = {
    "nothing asked": PASS,
    "suggested": UNDECIDED,
    "not better": FAIL,
    "rolling out": UNDECIDED,
    "live": PASS,
    "taken back": FAIL,
    "inconclusive": UNDECIDED,
}
THROUGH = {
    "canary": "a pass begins a rollout beside live, and only the end of that makes it live",
    "live": "a pass makes it live at once",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person or a nightly job asks of a retraining."""

    mode: Literal["suggest", "auto"] | None = None
    "suggest says what would be done and trains nothing; auto does it; else [retrain] mode."
    until: datetime | None = None
    "Learn from labels that had come then; without it, from all there are."
    recalibrate: bool = False
    "Shift the probabilities by the last labelled days instead of training anew; needs no ticket."
    through: Literal["canary", "live"] | None = None
    "canary: by a rollout beside live; live: at once, which takes a reason; else [retrain] through."
    follow: bool = False
    "Look at the rollout each second until it ends, or until nobody asks any more."
    who: str = ""
    "Who does it; the name of the user where it is not given."
    why: str = ""
    "Why, for the history; with it, what was taken back before is tried again."

    @property
    def flags(self) -> dict[str, str]:
        """The settings that are given here."""
        given = {"retrain.mode": self.mode, "retrain.through": self.through}
        return {name: value for name, value in given.items() if value}


class Done(NamedTuple):
    """What was done, in words for a person, and the exit code."""

    record: Renewal
    text: RenderableType
    code: int


def carry_out(project: Project, asked: Asked, *, callback: pipeline.Callback) -> Done:
    """Go on with the rollout that runs; else act on the ticket: tell it, or train, and roll out what is shown better.

    Raises ConfigError where a release is to be live at once and no reason is given.
    """
    if asked.through == "live" and not asked.why:
        raise ConfigError("to make it live without a canary takes a reason, for the history", hint='--why "..."')
    if succession.under_way(project):
        found = _gone_on(project, asked, callback)
        return Done(found, Group(*_where(found)), OF_STANDS[found.stands])
    begun = found = _begun(project, asked, callback)
    if begun.stands == "rolling out" and asked.follow:
        found = pipeline.follow(project, callback=callback)
    verdict = begun.retraining.frontier.winner.verdict if begun.retraining else None
    judged: list[RenderableType] = []
    if begun.retraining and verdict:
        judged = [Text(begun.retraining.message), rulings_table(verdict)]
    code = OF_ANSWER[verdict.answer] if verdict and found.stands == "not better" else OF_STANDS[found.stands]
    return Done(found, Group(*judged, *_where(found)), code)


def _gone_on(project: Project, asked: Asked, callback: pipeline.Callback) -> Renewal:
    """The rollout that runs, a look further; in the mode `suggest` nothing is done."""
    if project.config.retrain.mode == "suggest":
        return succession.seen(project)
    if asked.through == "live":
        return succession.promote(project, who=asked.who or getuser(), why=asked.why)
    return pipeline.follow(project, callback=callback) if asked.follow else succession.look(project)


def _begun(project: Project, asked: Asked, callback: pipeline.Callback) -> Renewal:
    """What the ticket asks for, or a recalibration; in the mode `auto` on its way to be live."""
    acts = project.config.retrain.mode == "auto"
    if asked.recalibrate:
        found = pipeline.recalibrate(project, until=asked.until, callback=callback)
        if not acts:
            return Renewal(
                stands="suggested", message="", todo="headway retrain --recalibrate --mode auto", retraining=found
            )
        return pipeline.renew(project, found, who=asked.who or getuser(), why=asked.why)
    ticket = pipeline.ticket_of(project)
    if ticket is None:
        message = "no ticket asks to train the live release anew: headway watch opens them"
        return Renewal(stands="nothing asked", message=message)
    if not acts:
        message = suggestion(project, ticket)
        return Renewal(stands="suggested", message=message, todo="headway retrain --mode auto", ticket=ticket)
    callback(ticket.why)
    found = pipeline.retrain(project, until=asked.until, callback=callback)
    return pipeline.renew(project, found, who=asked.who or getuser(), why=asked.why)


def suggestion(project: Project, ticket: Ticket) -> str:
    """What the ticket asks, what it costs, and what would be done."""
    retrain = project.config.retrain
    price = "its price was never measured" if ticket.price_s is None else f"about {ticket.price_s:,.1f} s of training"
    pays = {True: "it is expected to pay", False: "it is not expected to pay by itself", None: ""}[ticket.pays]
    lines = (
        f"ticket of {ticket.at[:10]}: {ticket.why}",
        f"to train anew: {retrain.seeds} seeds, {price}{f'; {pays}' if pays else ''}",
        f"the last {retrain.judged_days} labelled days are kept to judge it against live; {THROUGH[retrain.through]}",
    )
    return "\n".join(lines)


def _where(found: Renewal) -> list[Text]:
    """Where it stands, unless that was told with the retraining, and the command that goes on."""
    if found.move:
        return [shipped_lines(found.move, key_created=False)]
    message = found.message if found.stands in ("suggested", "nothing asked") else f"{found.stands}: {found.message}"
    told = found.retraining is not None and found.message == found.retraining.message
    return [Text(line) for line in ("" if told else message, f"go on: {found.todo}" if found.todo else "") if line]
