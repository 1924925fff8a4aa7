"""Retrain the live release when a ticket asks for it, and promote the result if it is shown to be better."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import Literal

from rich.console import Group, RenderableType
from rich.text import Text

from headway import pipeline
from headway.cli.exit_codes import FAIL, OF_ANSWER, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.contracts import Lease
from headway.core.errors import ConfigError
from headway.core.monitoring import Ticket
from headway.core.training import Promotion, PromotionStatus, Retraining
from headway.data.settings.model import ModelSection
from headway.monitoring.alerts.deliver import start_delivery
from headway.monitoring.overview import describe_opening
from headway.monitoring.retraining import promotion
from headway.monitoring.settings.retrain import RetrainSection
from headway.optimization import training
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text.terminal import render_release, render_rules

OF_PROMOTION: dict[PromotionStatus, int] = {
    "no proposal": PASS,
    "suggested": UNDECIDED,
    "not better": FAIL,
    "rolling out": UNDECIDED,
    "live": PASS,
    "rolled back": FAIL,
    "inconclusive": UNDECIDED,
}
THROUGH = {
    "canary": "if it passes, a canary rollout starts, and only its end makes the release live",
    "live": "if it passes, it goes live at once",
}


def plugin(
    *,
    mode: Literal["suggest", "auto"] | None = None,
    until: datetime | None = None,
    recalibrate: bool = False,
    through: Literal["canary", "live"] | None = None,
    follow: bool = False,
    who: str = "",
    why: str = "",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Act on the open ticket, or continue the rollout of the last retraining; run it nightly.

    Exit 0 nothing to do or live now, 1 not better than live or rolled back, 3 undecided, rolling out or only suggested.

    Example: headway retrain --project headway-demo --mode auto --follow

    Parameters
    ----------
    mode
        suggest shows what would be done and trains nothing; auto does it; default: [retrain] mode.
    until
        Use only labels that had arrived by this time; default: all labels.
    recalibrate
        Shift the probabilities by the last labelled days instead of retraining; needs no ticket.
    through
        canary: promote by a canary rollout; live: promote at once, which requires --why; default: [retrain] through.
    follow
        Check the rollout every second until it ends or requests stop.
    who
        Who retrains; default: the name of the user.
    why
        Reason, for the history; with a reason, a retraining that was rolled back before is tried again.
    """
    flags: dict[str, str] = {
        name: value for name, value in (("retrain.mode", mode), ("retrain.through", through)) if value
    }
    opened = open_project(project, flags=flags)
    if through == "live" and not why:
        raise ConfigError("to skip the canary rollout, give a reason for the history", hint='--why "..."')
    who = who or getuser()
    outcome, made, code = act(
        opened, recalibrate=recalibrate, until=until, at_once=through == "live", follow=follow, who=who, why=why
    )
    judged: list[RenderableType] = []
    if made and (verdict := made.search_result.winner.verdict):
        judged = [Text(made.message), render_rules(verdict)]
    pipeline.send_lineage(opened, callback=print_status)
    start_delivery(opened.config)
    print_result(outcome, Group(*judged, *_status_lines(outcome)), json=json)
    return code


def act(
    project: Project,
    *,
    recalibrate: bool = False,
    until: datetime | None = None,
    at_once: bool = False,
    follow: bool = False,
    who: str,
    why: str,
) -> tuple[Promotion, Retraining | None, int]:
    """Act on the open ticket, or continue the rollout of the last retraining.

    Returns where the promotion stands, the retraining if one was made, and the exit code. In mode `suggest` nothing is
    trained and nothing moves.
    """
    if promotion.running_rollout(project):
        outcome = _continue(project, at_once=at_once, follow=follow, who=who, why=why)
        return outcome, None, OF_PROMOTION[outcome.status]
    with nullcontext() if project.config[RetrainSection].mode == "suggest" else project.lease("retrain") as lease:
        outcome = _start(project, lease, recalibrate=recalibrate, until=until, who=who, why=why)
    made = outcome.retraining
    verdict = made.search_result.winner.verdict if made else None
    if outcome.status == "rolling out" and follow:
        outcome = pipeline.follow_promotion(project, callback=print_status)
    code = OF_ANSWER[verdict.answer] if verdict and outcome.status == "not better" else OF_PROMOTION[outcome.status]
    return outcome, made, code


def _continue(project: Project, *, at_once: bool, follow: bool, who: str, why: str) -> Promotion:
    """Advance the running rollout by one decision; in mode `suggest` change nothing."""
    if project.config[RetrainSection].mode == "suggest":
        return promotion.promotion_status(project)
    if at_once:
        return promotion.force_promotion(project, who=who, why=why)
    return pipeline.follow_promotion(project, callback=print_status) if follow else promotion.check_promotion(project)


def _start(
    project: Project, lease: Lease | None, *, recalibrate: bool, until: datetime | None, who: str, why: str
) -> Promotion:
    """Retrain as the ticket asks, or recalibrate; in mode `auto`, which holds a lease, also start the promotion."""
    if recalibrate:
        result = pipeline.recalibrate(project, until=until, callback=print_status)
        if lease is None:
            command = "headway retrain --recalibrate --mode auto"
            return Promotion(status="suggested", message="", next_command=command, retraining=result)
        lease.expect_held()
        return pipeline.promote(project, result, who=who, why=why)
    ticket = pipeline.open_ticket(project)
    if ticket is None:
        message = "no open ticket asks for a retraining; headway watch opens tickets"
        return Promotion(status="no proposal", message=message)
    if ticket.reasons == ("inputs",):
        return Promotion(status="no proposal", message=f"no retraining helps: {ticket.message}", ticket=ticket)
    if lease is None:
        message = _suggestion(project, ticket)
        return Promotion(status="suggested", message=message, next_command="headway retrain --mode auto", ticket=ticket)
    print_status(ticket.message)
    result = pipeline.retrain(project, until=until, who=who, callback=print_status)
    lease.expect_held()
    return pipeline.promote(project, result, who=who, why=why)


def _suggestion(project: Project, ticket: Ticket) -> str:
    """Return what the ticket asks for, what a retraining costs, and what would be done."""
    retrain = project.config[RetrainSection]
    if not project.config[ModelSection].train:
        training.require_training_function(project.config)
    price = "training time unknown" if ticket.price_s is None else f"about {ticket.price_s:,.1f} s of training"
    pays = {True: "; expected to pay off", False: "; not expected to pay off by itself", None: ""}[ticket.pays]
    return "\n".join(
        (
            f"ticket {describe_opening(ticket)}: {ticket.message}",
            f"retraining: {retrain.seeds} seeds, {price}{pays}",
            f"the last {retrain.judged_days} labelled days are held out to judge it against live; "
            f"{THROUGH[retrain.through]}",
        )
    )


def _status_lines(outcome: Promotion) -> list[Text]:
    """Return where the promotion stands, unless the retraining's own message said it, and the next command."""
    if outcome.update:
        return [render_release(outcome.update, key_created=False)]
    shown = outcome.retraining is not None and outcome.message == outcome.retraining.message
    bare = outcome.status in ("suggested", "no proposal")
    status = "" if shown else outcome.message if bare else f"{outcome.status}: {outcome.message}"
    return [Text(line) for line in (status, f"next: {outcome.next_command}" if outcome.next_command else "") if line]
