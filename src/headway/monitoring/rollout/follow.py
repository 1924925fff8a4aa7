"""Follow a rollout to its end: a look every second, a line for each change, and a word where nobody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from headway.core.errors import Refused
from headway.core.rollout import Decision, Rollout
from headway.monitoring.rollout.log import asked_at
from headway.monitoring.rollout.rolling import Rolling, expect_running, latest, now
from headway.registry.project import Project

PERIOD_S = 1.0
Callback = Callable[[str], object]


def follow(
    project: Project,
    *,
    callback: Callback,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], datetime] = now,
    patient: bool = True,
) -> Rollout:
    """Look again and again until the rollout has ended, with a wait of `PERIOD_S` between two looks.

    Who is not patient leaves a rollout that runs, once no request has come for `[rollout] quiet_s`. Raises Refused
    where no rollout runs.
    """
    rolling = Rolling(project, expect_running(project), clock=clock)
    said, silence = _Said(callback), _Silence(timedelta(seconds=project.config.rollout.quiet_s), clock)
    while True:
        try:
            decision = rolling.look()
        except Refused:
            last = latest(project)
            if last is None or last.standing == "running":
                raise
            callback(f"{last.current.name} ended meanwhile: {last.standing}. {last.why}")
            return last
        said.of(rolling.rollout, decision)
        if rolling.rollout.standing != "running":
            return rolling.rollout
        if silence.begins(rolling.rollout):
            callback(unasked(project, rolling.rollout, clock()) or _passed_by(rolling.rollout))
            if not patient:
                return rolling.rollout
        wait(PERIOD_S)


def unasked(project: Project, rollout: Rollout, at: datetime) -> str:
    """That nobody asks the live release, and what to do; empty where it was asked in the last `[rollout] quiet_s`.

    `at` is a time with its zone.
    """
    last = asked_at(project.config.state, rollout.name, rollout.live)
    if last and at - last < timedelta(seconds=project.config.rollout.quiet_s):
        return ""
    what = f"live was last asked at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "live has not been asked anything yet"
    return f"{what}, and a rollout learns from requests alone: headway serve {rollout.name}@live answers them"


def _passed_by(rollout: Rollout) -> str:
    """Why requests to live tell nothing of the release."""
    if rollout.share:
        return "callers name no key, and a canary is given to keys alone: docs/serving.md says how to name one"
    return "live answers, but not beside this release: see what its server says, such as that it does not verify"


class _Said:
    """Tells each change of a rollout once: of its stage, of what is done, of the answer of a rule."""

    def __init__(self, callback: Callback) -> None:
        self._tell = callback
        self._last: object = None

    def of(self, rollout: Rollout, decision: Decision) -> None:
        rulings = decision.verdict.rulings
        found = {ruling.rule.measure: ruling.answer if ruling.measurement else "not seen" for ruling in rulings}
        now = (rollout.stage, decision.action, found)
        if now != self._last:
            seen = ", ".join(f"{measure} {answer}" for measure, answer in found.items())
            counted = f"{rollout.current.name} stays after {rollout.requests:,} requests: {seen}"
            self._tell(counted if decision.action == "stay" and rollout.requests else decision.message)
        self._last = now


class _Silence:
    """Whether requests have stopped coming; it begins once, until the next request."""

    def __init__(self, most: timedelta, clock: Callable[[], datetime]) -> None:
        self._most, self._clock = most, clock
        self._seen: tuple[int, int] | None = None
        self._since, self._told = clock(), False

    def begins(self, rollout: Rollout) -> bool:
        seen = (rollout.stage, rollout.requests)
        if seen != self._seen:
            self._seen, self._since, self._told = seen, self._clock(), False
        begins = not self._told and self._clock() - self._since >= self._most
        self._told = self._told or begins
        return begins
