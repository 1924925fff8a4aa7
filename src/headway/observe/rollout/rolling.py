"""Roll a release out: read what the servers logged, let the judge decide at every look, and move the pointers by it.

All that a rollout knows is in the store: whoever looks next, after a crash too, goes on from the records, the pointers
and the log. Pointers are moved first and the record is kept after, so that what is half done shows and is finished.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.evidence import Evidence
from headway.core.record import read
from headway.core.release import Move
from headway.core.rollout import Action, Decision, Plan, Rollout
from headway.core.verdict import Verdict
from headway.evidence import canary
from headway.evidence.measure import this_machine
from headway.observe.rollout.paired import Paired
from headway.release.project import Project
from headway.release.register import Reason
from headway.release.rollout import decide, evidence_of, forward, moved, overruled, rules_of, watch

BY = "rollout"
PERIOD_S = 1.0
MEND = "headway rollout start"


def _now() -> datetime:
    return datetime.now(UTC)


class Rolling:
    """A running rollout that is followed: each look reads what is new in the log, decides, and acts.

    `clock` gives the time with its zone.
    """

    def __init__(self, project: Project, rollout: Rollout, *, clock: Callable[[], datetime] = _now) -> None:
        self.project = project
        self.clock = clock
        self.rollout, self._watch, self._paired = self._begun(rollout)

    def evidence(self) -> Evidence:
        """What was measured of the stage up to now; the rollout's counts are brought up to it."""
        for traffic in self._paired.read():
            self._watch = canary.update(self._watch, traffic)
        self.rollout = replace(self.rollout, requests=self._paired.requests, of_release=self._paired.of_release)
        measured = canary.measure(self._watch)
        return evidence_of(self.rollout, measured, machine=this_machine(), at=self.clock())

    def look(self) -> Decision:
        """One look: what to do by all that is known now, which is done at return.

        Raises Refused where the rollout has ended.
        """
        self._catch_up()
        found = self.evidence()
        decision = self._unfinished() or decide(self.rollout, found)
        if decision.action != "stay":
            self.act(decision, found, who=BY)
        return decision

    def act(self, decision: Decision, evidence: Evidence, *, who: str) -> None:
        """Do what was decided: move the pointers; keep evidence, verdict and rollout."""
        project, name = self.project, self.rollout.name
        project.keep(evidence)
        project.keep(decision.verdict)
        if decision.action == "promote":
            self._promote(decision, who)
        elif decision.action in ("roll back", "stop"):
            project.register.withdraw(f"{name}@canary", who=who, why=decision.says)
        after = moved(self.rollout, decision, at=self.clock())
        project.keep(after)
        if decision.action == "promote":
            project.register.withdraw(f"{name}@canary", who=who, why=decision.says)
        if decision.action == "advance":
            self.rollout, self._watch, self._paired = self._begun(after)
        self.rollout = after

    def _begun(self, rollout: Rollout) -> tuple[Rollout, canary.Watch, Paired]:
        """What follows a rollout's stage from its start."""
        register = self.project.register
        live, release = (
            register.resolve(f"{rollout.name}@{digest.removeprefix('sha256:')}").release
            for digest in (rollout.live, rollout.release)
        )
        return rollout, watch(rollout), Paired(self.project.config, rollout, live, release)

    def _catch_up(self) -> None:
        """Begin anew where another process moved the rollout on."""
        last = expect_running(self.project)
        if (last.started_at, last.stage_at) != (self.rollout.started_at, self.rollout.stage_at):
            self.rollout, self._watch, self._paired = self._begun(last)

    def _promote(self, decision: Decision, who: str) -> None:
        address = f"{self.rollout.name}@live"
        head = self.project.register.head(address)
        if head is None or head.release != self.rollout.release:
            reason = Reason(who=who, why=decision.says, verdict=decision.verdict)
            self.project.register.point(address, self.rollout.release, reason)

    def _unfinished(self) -> Decision | None:
        """What the pointers say that the record does not: an end that was half done, or another release made live."""
        rollout, register = self.rollout, self.project.register
        live, beside = (register.head(f"{rollout.name}@{pointer}") for pointer in ("live", "canary"))
        if live and live.release == rollout.release:
            return self._noted("promote", f"it is live by {live.who}: {live.why}")
        if beside is None or beside.release != rollout.release:
            why = f"{beside.who}: {beside.why}" if beside else "the pointer was never moved"
            return self._noted("roll back", f"it is no longer the canary by {why}")
        if live is None or live.release != rollout.live:
            return self._noted("stop", f"{rollout.name}@live moved to another release while it was compared")
        return None

    def _noted(self, action: Action, says: str) -> Decision:
        return _without_judge(self.rollout, action, says=says, by=BY, at=self.clock())


def latest(project: Project) -> Rollout | None:
    """The last rollout of a project as it was kept last, running or ended; None where there was none."""
    content = project.state.latest("rollout", name=project.name)
    return read(Rollout, content) if content else None


def expect_running(project: Project) -> Rollout:
    """The rollout that runs; raises Refused where none does."""
    last = latest(project)
    if last is None or last.standing != "running":
        raise Refused(f"no rollout of {project.name} is running", mend=MEND)
    return last


def start(project: Project, release: str, *, plan: Plan | None = None, who: str, why: str = "") -> Rollout:
    """Begin to roll out a published release (its digest) beside the one that is live; in shadow first by default.

    Raises Refused where a rollout is running, where nothing is live or it is this release, and where its verdict is not
    pass.
    """
    name, register = project.name, project.register
    last, live = latest(project), register.head(f"{name}@live")
    if last and last.standing == "running" and _stands(project, last):
        raise Refused(f"a rollout of {name} is running: {last.release} at {last.current.name}", mend="headway rollout")
    if live is None or live.release in ("", release):
        what = "nothing is" if live is None or not live.release else "this release is already"
        raise Refused(f"{what} live, so there is nothing to compare with", mend="headway release")
    verdict = register.resolve(f"{name}@{release.removeprefix('sha256:')}").release.verdict
    rules, later = rules_of(project.config.policy, verdict)
    reason = Reason(who=who, why=why or "rollout", verdict=verdict)
    stamp = register.point(f"{name}@canary", release, reason).at
    rollout = Rollout(
        name=name,
        release=release,
        live=live.release,
        salt=secrets.token_hex(8),
        rules=rules,
        later=later,
        plan=plan or Plan(),
        started_at=stamp,
        stage_at=stamp,
        by=who,
        why=why,
    )
    project.keep(rollout)
    return rollout


def look(project: Project) -> Decision:
    """One look at the running rollout, from all of its stage's log; does what it decides. Raises Refused for none."""
    return Rolling(project, expect_running(project)).look()


def status(project: Project) -> Decision:
    """What one look would decide now; nothing is done. Raises Refused where no rollout is running."""
    rolling = Rolling(project, expect_running(project))
    return decide(rolling.rollout, rolling.evidence())


def advance(project: Project, *, who: str, why: str) -> Decision:
    """A person's step forward, over what the judge says; raises Refused for no rollout, HeadwayError for no reason."""
    rolling = Rolling(project, expect_running(project))
    found = rolling.evidence()
    step = forward(rolling.rollout)
    decision = overruled(decide(rolling.rollout, found), step, who=who, why=why, at=rolling.clock())
    rolling.act(decision, found, who=who)
    return decision


def rollback(project: Project, *, who: str, why: str) -> Move:
    """Take the running rollout back; where none runs, move live to the release that it had before. Needs no verdict.

    Raises Refused where the canary was withdrawn already, StoreError where live had no other release.
    """
    last = latest(project)
    if last is None or last.standing != "running":
        return project.register.back(f"{project.name}@live", who=who, why=why)
    move = project.register.withdraw(f"{project.name}@canary", who=who, why=why)
    decision = _without_judge(last, "roll back", says=f"roll back by {who}: {why}", by=who, at=_now())
    project.keep(decision.verdict)
    project.keep(moved(last, decision, at=_now()))
    if move is None:
        raise Refused(f"the canary of {project.name} was withdrawn already", mend="headway history")
    return move


def follow(
    project: Project,
    *,
    tell: Callable[[str], object],
    period_s: float = PERIOD_S,
    wait: Callable[[float], object] = time.sleep,
) -> Rollout:
    """Look every `period_s` seconds until the rollout has ended; tells what changes. Raises Refused for no rollout."""
    rolling = Rolling(project, expect_running(project))
    said = ""
    while rolling.rollout.standing == "running":
        decision = rolling.look()
        if decision.says != said:
            tell(decision.says)
            said = decision.says
        if rolling.rollout.standing == "running":
            wait(period_s)
    return rolling.rollout


def _stands(project: Project, rollout: Rollout) -> bool:
    """Whether the pointers still carry a rollout that its record says is running."""
    heads = [project.register.head(f"{rollout.name}@{pointer}") for pointer in ("live", "canary")]
    return [head.release if head else "" for head in heads] == [rollout.live, rollout.release]


def _without_judge(rollout: Rollout, action: Action, *, says: str, by: str, at: datetime) -> Decision:
    """A decision for which nobody asked the judge: a person's rollback, or what the pointers already show."""
    stamp = at.astimezone().isoformat(timespec="milliseconds")
    verdict = Verdict(answer="undecided", subject=rollout.release, at=stamp, by=by, why=says)
    return Decision(action=action, verdict=verdict, says=says)
