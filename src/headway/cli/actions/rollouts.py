"""What each action of `headway rollout` does, shows, and exits with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from getpass import getuser
from typing import Literal, NamedTuple

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.core.errors import ConfigError
from headway.core.release import Move
from headway.core.rollout import Action, Decision, Rollout, Standing
from headway.monitoring.rollout import rolling
from headway.monitoring.rollout.follow import follow, unasked
from headway.registry.project import Project
from headway.registry.ship import publish
from headway.reporting.text import numbers

Word = Literal["start", "status", "watch", "advance", "rollback"]
OF_STANDING: dict[Standing, int] = {
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Who acts and why, and the stages of a rollout where they are not those of `[rollout]`."""

    who: str = ""
    "Who does it; the name of the user where it is not given."
    why: str = ""
    "Why, for the history; to advance or roll back it must be said."
    shares: str = ""
    "To start: shares of the keys, a stage each, such as 0,0.1,0.5; else [rollout] shares."
    min_requests: int | None = None
    "To start: requests that it answers at a stage at the least; else [rollout] min_requests."
    at_most_hours: float | None = None
    "To start: hours after which a stage ends inconclusive; else [rollout] at_most_hours."

    @property
    def flags(self) -> dict[str, str]:
        """The settings that are given here."""
        shares = f"[{self.shares}]" if self.shares else None
        given = {"shares": shares, "min_requests": self.min_requests, "at_most_hours": self.at_most_hours}
        return {f"rollout.{name}": str(value) for name, value in given.items() if value is not None}


class Done(NamedTuple):
    """What an action gave, in words for a person, and the exit code."""

    record: Rollout | Decision | Move
    message: str
    code: int


def carry_out(project: Project, word: Word, *, reference: str, given: Given, callback: pipeline.Callback) -> Done:
    """Do one action on the project's rollout.

    Raises ConfigError where the name is another's or the reason is missing, Refused where there is nothing to act on.
    """
    name, _, digest = reference.partition("@")
    who, why = given.who or getuser(), given.why
    if name not in ("", project.name):
        raise ConfigError(f"the project here is {project.name!r}, not {name!r}", hint="go there, or --project FOLDER")
    if word in ("advance", "rollback") and not why:
        raise ConfigError(f"to {word} takes a reason, for the history", hint='--why "..."')
    if given.flags and word != "start":
        raise ConfigError("the stages of a rollout are fixed at its start", where=", ".join(given.flags))
    acts: dict[Word, Callable[[], Done]] = {
        "start": lambda: _start(project, digest, who=who, why=why),
        "status": lambda: _status(project),
        "watch": lambda: _ended(follow(project, callback=callback)),
        "advance": lambda: _decided(rolling.advance(project, who=who, why=why)),
        "rollback": lambda: _moved(rolling.rollback(project, who=who, why=why)),
    }
    return acts[word]()


def _start(project: Project, digest: str, *, who: str, why: str) -> Done:
    """Of a digest or its first digits; without one the winner of the last search is published first."""
    if digest:
        digest = project.register.resolve(f"{project.name}@{digest}").digest
    else:
        digest, _ = publish(project, pipeline.last_frontier(project), who=who)
    rollout = rolling.start(project, digest, who=who, why=why)
    stages = [stage.name for stage in rollout.plan.stages]
    lines = [
        f"{_named(rollout)} begins with {stages[0]}, then {', '.join([*stages[1:], 'live'])}",
        _unasked(project, rollout),
        "go on: headway rollout watch",
    ]
    return Done(rollout, "\n".join(line for line in lines if line), PASS)


def _status(project: Project) -> Done:
    """The rollout that runs, with what a look would decide; else how the last one ended."""
    last = rolling.latest(project)
    if last is not None and last.standing != "running":
        return _ended(last)
    done = _decided(rolling.status(project))
    quiet = _unasked(project, rolling.expect_running(project))
    return done._replace(message=f"{done.message}\n{quiet}" if quiet else done.message)


def _ended(rollout: Rollout) -> Done:
    return Done(rollout, f"{_named(rollout)}: {rollout.standing}. {rollout.why}", OF_STANDING[rollout.standing])


def _decided(decision: Decision) -> Done:
    rulings = "".join(f"\n  {ruling.answer}: {ruling.message}" for ruling in decision.verdict.rulings)
    return Done(decision, decision.message + rulings, OF_ACTION[decision.action])


def _moved(move: Move) -> Done:
    where = f"release {numbers.short(move.release)}" if move.release else "no release"
    return Done(move, f"{move.name}@{move.pointer} is now at {where}: {move.why}", PASS)


def _unasked(project: Project, rollout: Rollout) -> str:
    return unasked(project, rollout, rolling.now())


def _named(rollout: Rollout) -> str:
    return f"rollout of {rollout.name} {numbers.short(rollout.release)}"
