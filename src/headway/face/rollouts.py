"""What each action of `headway rollout` does, shows, and exits with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from headway import flow
from headway.core.errors import ConfigError
from headway.core.release import Move
from headway.core.rollout import Decision, Rollout, Standing
from headway.face import numbers
from headway.face.codes import FAIL, OF_ANSWER, PASS, UNDECIDED
from headway.observe.rollout import rolling
from headway.release.project import Project
from headway.release.ship import publish

Action = Literal["start", "status", "watch", "advance", "rollback"]
OF_STANDING: dict[Standing, int] = {
    "running": UNDECIDED,
    "promoted": PASS,
    "rolled back": FAIL,
    "inconclusive": UNDECIDED,
}


class Done(NamedTuple):
    """What an action gave, in words for a person, and the exit code."""

    record: Rollout | Decision | Move
    says: str
    code: int


def carry_out(project: Project, action: Action, *, reference: str, who: str, why: str) -> Done:
    """Do one action on the project's rollout.

    Raises ConfigError where the name is another's or the reason is missing, Refused where there is nothing to act on.
    """
    name, _, digest = reference.partition("@")
    if name not in ("", project.name):
        raise ConfigError(f"the project here is {project.name!r}, not {name!r}", mend="go there, or --project FOLDER")
    if action in ("advance", "rollback") and not why:
        raise ConfigError(f"to {action} takes a reason, for the history", mend='--why "..."')
    if action == "start":
        return _start(project, digest, who=who, why=why)
    acts: dict[str, Callable[[], Done]] = {
        "status": lambda: _status(project),
        "watch": lambda: _ended(rolling.follow(project, tell=lambda _: None)),
        "advance": lambda: _decided(rolling.advance(project, who=who, why=why)),
        "rollback": lambda: _moved(rolling.rollback(project, who=who, why=why)),
    }
    return acts[action]()


def _start(project: Project, digest: str, *, who: str, why: str) -> Done:
    """Of a digest or its first digits; without one the winner of the last search is published first."""
    if digest:
        digest = project.register.resolve(f"{project.name}@{digest}").digest
    else:
        digest, _ = publish(project, flow.last_frontier(project), who=who)
    rollout = rolling.start(project, digest, who=who, why=why)
    return Done(rollout, f"{_named(rollout)} begins with {rollout.current.name}", PASS)


def _status(project: Project) -> Done:
    """The rollout that runs, with what a look would decide; else how the last one ended."""
    last = rolling.latest(project)
    if last is not None and last.standing != "running":
        return _ended(last)
    return _decided(rolling.status(project))


def _ended(rollout: Rollout) -> Done:
    return Done(rollout, f"{_named(rollout)}: {rollout.standing}. {rollout.why}", OF_STANDING[rollout.standing])


def _decided(decision: Decision) -> Done:
    rulings = "".join(f"\n  {ruling.answer}: {ruling.says}" for ruling in decision.verdict.rulings)
    return Done(decision, decision.says + rulings, OF_ANSWER[decision.verdict.answer])


def _moved(move: Move) -> Done:
    where = f"release {numbers.short(move.release)}" if move.release else "no release"
    return Done(move, f"{move.name}@{move.pointer} is now at {where}: {move.why}", PASS)


def _named(rollout: Rollout) -> str:
    return f"rollout of {rollout.name} {numbers.short(rollout.release)}"
