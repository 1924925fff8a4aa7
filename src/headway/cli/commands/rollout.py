"""Roll a release out next to the live one: start, status, watch, advance, rollback, forward."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from getpass import getuser
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from cyclopts import Parameter

from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError
from headway.core.release import PointerUpdate
from headway.core.rollout import Action, Decision, Rollout, RolloutStatus
from headway.data.settings.provenance import ProvenanceSection
from headway.monitoring import rollout as control
from headway.monitoring.alerts.deliver import start_delivery
from headway.monitoring.rollout import follow_rollout, idle_message
from headway.registry.judge import CHURN
from headway.registry.model_registry import KeyRole
from headway.registry.project import LIVE_POINTER, Project, open_project
from headway.registry.rollout import describe_rollout_traffic
from headway.registry.searches import find_search
from headway.reporting.console import print_result, print_status
from headway.reporting.text import formatting

RolloutAction = Literal["start", "status", "watch", "advance", "rollback", "forward"]
LEAVES_RELEASE: tuple[RolloutAction, ...] = ("rollback", "forward")
LEAVES: tuple[RolloutAction, ...] = ("advance", *LEAVES_RELEASE)
OF_ROLLOUT: dict[RolloutStatus, int] = {
    "running": UNDECIDED,
    "promoted": PASS,
    "rolled back": FAIL,
    "inconclusive": UNDECIDED,
}
OF_ACTION: dict[Action, int] = {
    "stay": UNDECIDED,
    "advance": PASS,
    "promote": PASS,
    "roll back": FAIL,
    "stop": UNDECIDED,
}


class RolloutResult(NamedTuple):
    """The record that an action returned or where live is, its text, and the exit code."""

    record: Rollout | Decision | PointerUpdate | None
    text: str
    code: int


def plugin(
    action: RolloutAction = "status",
    reference: str = "",
    *,
    leave: Annotated[str, Parameter(name="--from")] = "",
    who: str = "",
    why: str = "",
    shares: str = "",
    min_requests: int | None = None,
    at_most_hours: float | None = None,
    key: KeyRole = "publisher",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Start, inspect, advance or roll back a rollout. Exit 0 advanced or done, 1 rolled back by the judge, 3 undecided.

    Example: headway rollout rollback --from 6a5b6a3b2f10 --project headway-demo --why "callers complain"

    Parameters
    ----------
    action
        start, status, watch (check every second until it ends, one line per change), advance (overrides the judge),
        rollback (takes the release out of traffic), or forward (live returns to what a rollback left).
    reference
        The project's name; to start, NAME@DIGEST, or the name alone for the winner of the last search.
    leave
        What to leave: to advance, the number of the stage, from 1; to roll back or go forward, the release, its digest
        or the first 8 digits or more. If it was left already, nothing moves, and the exit code is 0.
    who
        Who acts; default: the name of the user.
    why
        Reason, for the history; required to advance, roll back or go forward.
    shares
        To start: share of keys at each stage, such as 0,0.1,0.5; default: [rollout] shares.
    min_requests
        To start: minimum requests that the release answers at a stage; default: [rollout] min_requests.
    at_most_hours
        To start: hours after which a stage ends inconclusive; default: [rollout] at_most_hours.
    key
        To roll back or go forward: whose key signs it, publisher or operator ([trust] publisher_key, operator_key).
    """
    stages = {
        "rollout.shares": f"[{shares}]" if shares else None,
        "rollout.min_requests": min_requests,
        "rollout.at_most_hours": at_most_hours,
    }
    flags = {name: str(value) for name, value in stages.items() if value is not None}
    opened = open_project(project, flags=flags)
    name, _, digest = reference.partition("@")
    if name not in ("", opened.name):
        raise ConfigError(f"the project here is {opened.name!r}, not {name!r}", hint="--project FOLDER")
    if action in LEAVES and not why:
        raise ConfigError(f"{action} needs a reason for the history", hint='--why "..."')
    if action not in LEAVES_RELEASE and key != "publisher":
        raise ConfigError("an operator's key can only roll back or go forward again", where="--key operator")
    if action in LEAVES and not leave:
        raise _needs_from(opened, action)
    if action not in LEAVES and leave:
        raise ConfigError(f"{action} leaves no release and no stage", where="--from")
    if flags and action != "start":
        raise ConfigError("the stages of a rollout are fixed when it starts", where=", ".join(flags))
    who = who or getuser()
    return_live = partial(_leave, opened, leave, who=who, why=why, key=key)
    run: dict[RolloutAction, Callable[[], RolloutResult]] = {
        "start": lambda: _start(opened, digest, who=who, why=why),
        "status": lambda: _status(opened),
        "watch": lambda: _of_rollout(opened, follow_rollout(opened, callback=print_status)),
        "advance": lambda: _advance(opened, leave, who=who, why=why),
        "rollback": partial(return_live, control.roll_back),
        "forward": partial(return_live, control.roll_forward),
    }
    result = run[action]()
    if opened.config[
        ProvenanceSection
    ].lineage_to:  # the pipeline loads for a second, which a rollback must not wait for
        importlib.import_module("headway.pipeline").send_lineage(opened, callback=print_status)
    start_delivery(opened.config)
    print_result(result.record, result.text, json=json)
    return result.code


def _start(project: Project, digest: str, *, who: str, why: str) -> RolloutResult:
    """Start with a digest or its first digits; without one, publish the winner of the last search first."""
    if digest:
        digest = project.registry.resolve(f"{project.name}@{digest}").digest
    else:
        publish = importlib.import_module("headway.registry.publish").publish  # loads polars
        digest, _ = publish(project, find_search(project), who=who)
    rollout = control.start_rollout(project, digest, who=who, why=why)
    first, *others = [stage.name for stage in rollout.plan.stages]
    lines = [
        f"{_title(rollout)} starts with {first}, then {', '.join([*others, 'live'])}",
        _limit_on_decisions(rollout),
        idle_message(project, rollout, control.utc_now()),
        "next: headway rollout watch",
    ]
    return RolloutResult(rollout, "\n".join(line for line in lines if line), PASS)


def _status(project: Project) -> RolloutResult:
    """Return the decision that would be taken now; without a running rollout, how the last one ended."""
    last = control.latest_rollout(project)
    if last is not None and last.status != "running":
        return _of_rollout(project, last)
    result, rollout = _of_decision(control.rollout_status(project)), control.require_running_rollout(project)
    idle = idle_message(project, rollout, control.utc_now())
    stage = f"stage {rollout.stage + 1} of {len(rollout.plan.stages)}, {rollout.current.name}"
    return result._replace(text="\n".join(filter(None, [stage, result.text, idle])))


def _of_rollout(project: Project, rollout: Rollout) -> RolloutResult:
    answered = describe_rollout_traffic(control.rollout_traffic(project, rollout))
    text = f"{_title(rollout)}: {rollout.status}. {rollout.why}\n{answered}"
    return RolloutResult(rollout, text, OF_ROLLOUT[rollout.status])


def _of_decision(decision: Decision) -> RolloutResult:
    rules = "".join(f"\n  {rule_result.answer}: {rule_result.message}" for rule_result in decision.verdict.rule_results)
    return RolloutResult(decision, decision.message + rules, OF_ACTION[decision.action])


def _advance(project: Project, leave: str, *, who: str, why: str) -> RolloutResult:
    """Advance from a stage; show where the rollout is if that was left already."""
    if not leave.isdecimal() or int(leave) < 1:
        raise ConfigError(f"{leave!r} is not the number of a stage", where="--from", hint="headway rollout status")
    decision = control.advance_rollout(project, who=who, why=why, from_stage=int(leave))
    if decision is not None:
        return _of_decision(decision)
    rollout = control.latest_rollout(project)
    if rollout is None or rollout.status != "running":
        return _status(project)
    text = f"stage {leave} was left already; the rollout is at stage {rollout.stage + 1}, {rollout.current.name}"
    return RolloutResult(rollout, text, PASS)


def _needs_from(project: Project, action: str) -> ConfigError:
    """Return the error for a command that does not name what to leave, with the complete command."""
    if action == "advance":
        shown, what, harm = str(control.require_running_rollout(project).stage + 1), "stage", "advance it twice"
    else:
        release = control.release_to_leave(project)
        if not release:
            return ConfigError(f"no release of {project.name} is live", hint="headway history")
        shown, what, harm = formatting.short_digest(release), "release", "undo each other"
    return ConfigError(
        f"{action} needs the {what} to leave, so that two people at once do not {harm}",
        where=project.name,
        hint=f'headway rollout {action} --from {shown} --why "..."',
    )


def _leave(
    project: Project,
    from_release: str,
    act: Callable[..., PointerUpdate | None],
    *,
    who: str,
    why: str,
    key: KeyRole,
) -> RolloutResult:
    """Roll back or go forward; show where live is if the release was left already."""
    update = act(project, from_release=from_release, who=who, why=why, key=key)
    if update is not None:
        return _of_update(update)
    live = project.registry.last_update(f"{project.name}@{LIVE_POINTER}")
    release = formatting.short_digest(live.release) if live and live.release else "no release"
    return RolloutResult(live, f"release {from_release} was left already; live is {release}", PASS)


def _of_update(update: PointerUpdate) -> RolloutResult:
    target = f"release {formatting.short_digest(update.release)}" if update.release else "no release"
    return RolloutResult(update, f"{update.name}@{update.pointer} is now at {target}: {update.why}", PASS)


def _limit_on_decisions(rollout: Rollout) -> str:
    """Return what the release is compared with live, and the share of its decisions that may differ."""
    form = "it is another form of the live model"
    kind = {"same model": form, "new model": "it is a new model, not another form of live's"}.get(rollout.change, "")
    limit = next((rule.at_most for rule in rollout.rules if rule.measure == CHURN), None)
    setting = "churn_same_model" if rollout.change == "same model" else "churn_new_model"
    if not kind or limit is None:
        return kind
    return f"{kind}: at most {limit:.3g} of its decisions may differ from live's ([rollout] {setting})"


def _title(rollout: Rollout) -> str:
    return f"rollout of {rollout.name} {formatting.short_digest(rollout.release)}"
