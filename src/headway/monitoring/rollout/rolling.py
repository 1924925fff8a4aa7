"""Roll a release out: read what the servers logged, let the judge decide at every look, and move the pointers by it.

All that a rollout knows is in the store: whoever looks next, after a crash too, goes on from the records, the pointers
and the log. Pointers are moved first and the record is kept after, so that what is half done shows and is finished.
A step forward needs both releases and the log whole; the way back needs the pointers alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from headway.core.errors import HeadwayError, PointerMoved, Refused
from headway.core.evidence import Evidence
from headway.core.record import read
from headway.core.release import Move, Release
from headway.core.rollout import Action, Decision, Plan, Rollout
from headway.core.verdict import Verdict
from headway.evaluation import canary
from headway.evaluation.measure import this_machine
from headway.monitoring.rollout.paired import Paired
from headway.registry.project import Project
from headway.registry.register import Reason
from headway.registry.rollout import deal_of, decide, evidence_of, forward, moved, overruled, plan_of, rules_of, watch

BY = "rollout"
MEND = "headway rollout start"


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class Look(NamedTuple):
    """What one look found: the decision, the evidence unless none was asked for, and where the pointers stood."""

    decision: Decision
    evidence: Evidence | None = None
    live: Move | None = None
    canary: Move | None = None


class Rolling:
    """A running rollout that is followed: each look reads what is new in the log, decides, and acts.

    `clock` gives the time with its zone.
    """

    def __init__(self, project: Project, rollout: Rollout, *, clock: Callable[[], datetime] = now) -> None:
        self.project = project
        self.clock = clock
        self.rollout = rollout
        self._watch = watch(rollout)
        self._paired: Paired | None = None

    def evidence(self) -> Evidence:
        """What was measured of the stage up to now; the rollout's counts are brought up to it.

        Raises Refused where a release does not verify, StoreError or DataError where the log cannot be read.
        """
        if self._paired is None:
            live, release = (self._opened(digest) for digest in (self.rollout.live, self.rollout.release))
            self._paired = Paired(self.project.config, self.rollout, live, release)
        for traffic in self._paired.read():
            self._watch = canary.update(self._watch, traffic)
        self.rollout = replace(self.rollout, requests=self._paired.requests, of_release=self._paired.of_release)
        return evidence_of(self.rollout, canary.measure(self._watch), machine=this_machine(), at=self.clock())

    def find(self) -> Look:
        """What a look would do by all that is known now; nothing is done.

        Where the pointers cannot be believed, a release does not verify or the log cannot be read, it is taken back.
        """
        try:
            live, beside = _heads(self.project)
        except Refused as error:
            return Look(self._noted("stop", f"the pointers cannot be believed: {error.what}"))
        unfinished = self._unfinished(live, beside)
        if unfinished:
            return Look(unfinished, None, live, beside)
        try:
            evidence = self.evidence()
        except HeadwayError as error:
            return Look(self._damaged(error), None, live, beside)
        return Look(decide(self.rollout, evidence), evidence, live, beside)

    def look(self) -> Decision:
        """One look: what to do by all that is known now, which is done at return.

        Raises Refused where the rollout has ended.
        """
        self._catch_up()
        found = self.find()
        if found.decision.action == "stay":
            return found.decision
        try:
            self.act(found, who=BY)
        except PointerMoved:  # somebody was first: look at what they did
            return self.look()
        except Refused as error:  # it was changed since it was opened, so nothing went forward
            found = found._replace(decision=self._damaged(error))
            self.act(found, who=BY)
        return found.decision

    def act(self, found: Look, *, who: str) -> None:
        """Do what a look found: move the pointers; keep evidence, verdict and rollout.

        Raises PointerMoved where a pointer is no longer where the look saw it, Refused where a release that would go
        forward does not verify.
        """
        decision = found.decision
        for record in (found.evidence, decision.verdict):
            if record is not None:
                self.project.keep(record)
        after = moved(self.rollout, decision, at=self._point(found, who))
        self.project.keep(after)
        if decision.action == "advance":
            self._begin(after)
        self.rollout = after

    def _begin(self, rollout: Rollout) -> None:
        """Follow a stage from its start."""
        self.rollout, self._watch, self._paired = rollout, watch(rollout), None

    def _opened(self, digest: str) -> Release:
        return self.project.register.resolve(f"{self.rollout.name}@{digest.removeprefix('sha256:')}").release

    def _catch_up(self) -> None:
        """Begin anew where another process moved the rollout on."""
        last = expect_running(self.project)
        if (last.started_at, last.stage_at) != (self.rollout.started_at, self.rollout.stage_at):
            self._begin(last)

    def _point(self, found: Look, who: str) -> datetime:
        """Move the pointers as decided; returns when."""
        if found.decision.action == "advance":
            return datetime.fromisoformat(self._advance(found, who).at)
        if found.decision.action == "promote":
            self._promote(found, who)
        self.project.register.withdraw(f"{self.rollout.name}@canary", who=who, why=found.decision.message)
        return self.clock()

    def _advance(self, found: Look, who: str) -> Move:
        """The canary's move to the next stage, which is there where this was killed before the record was kept."""
        rollout, canary, stage = self.rollout, found.canary, self.rollout.stage + 1
        if canary and canary.deal and canary.deal.stage >= stage:
            return canary
        return self.project.register.point(
            f"{rollout.name}@canary",
            rollout.release,
            Reason(who=who, why=found.decision.message, verdict=found.decision.verdict),
            after=canary.number if canary else 0,
            deal=deal_of(rollout, stage),
        )

    def _promote(self, found: Look, who: str) -> None:
        rollout, live = self.rollout, found.live
        if live is None or live.release != rollout.release:
            reason = Reason(who=who, why=found.decision.message, verdict=found.decision.verdict)
            after = live.number if live else 0
            self.project.register.point(f"{rollout.name}@live", rollout.release, reason, after=after)

    def _unfinished(self, live: Move | None, canary: Move | None) -> Decision | None:
        """What the pointers say that the record does not: a step that was half done, or another release made live."""
        rollout = self.rollout
        if live and live.release == rollout.release:
            return self._noted("promote", f"it is live by {live.who}: {live.why}")
        if canary is None or canary.release != rollout.release:
            why = f"{canary.who}: {canary.why}" if canary else "the pointer was never moved"
            return self._noted("roll back", f"it is no longer the canary by {why}")
        if live is None or live.release != rollout.live:
            return self._noted("stop", f"{rollout.name}@live moved to another release while it was compared")
        deal = canary.deal
        if deal is None or deal.terms != rollout.terms or deal.stage < rollout.stage:
            return self._noted("roll back", "the record of the rollout is not what was signed with its canary")
        return self._noted("advance", canary.why) if deal.stage > rollout.stage else None

    def _damaged(self, error: HeadwayError) -> Decision:
        """Back, where the release does not verify; an inconclusive end, where it cannot be compared with live."""
        try:
            self._opened(self.rollout.release)
        except HeadwayError as own:
            return self._noted("roll back", f"it is taken back, for it does not verify: {own.what}")
        return self._noted("stop", f"it is taken back, for it can be compared with live no longer: {error.what}")

    def _noted(self, action: Action, message: str) -> Decision:
        return _without_judge(self.rollout, action, message=message, by=BY, at=self.clock())


def latest(project: Project) -> Rollout | None:
    """The last rollout of a project as it was kept last, running or ended; None where there was none."""
    content = project.state.latest("rollout", name=project.name)
    return read(Rollout, content) if content else None


def expect_running(project: Project) -> Rollout:
    """The rollout that runs; raises Refused where none does."""
    last = latest(project)
    if last is None or last.standing != "running":
        raise Refused(f"no rollout of {project.name} is running", hint=MEND)
    return last


def start(project: Project, release: str, *, plan: Plan | None = None, who: str, why: str = "") -> Rollout:
    """Begin to roll out a published release (its digest) beside the one that is live, by `[rollout]` or another plan.

    Raises Refused where a rollout is running, where nothing is live or it is this release, and where its verdict is not
    pass.
    """
    name, register = project.name, project.register
    last = latest(project)
    live, beside = _heads(project)
    if last and last.standing == "running" and _stand(last, live, beside):
        raise Refused(f"a rollout of {name} is running: {last.release} at {last.current.name}", hint="headway rollout")
    if live is None or live.release in ("", release):
        what = "nothing is" if live is None or not live.release else "this release is already"
        raise Refused(f"{what} live, so there is nothing to compare with", hint="headway release")
    verdict = register.resolve(f"{name}@{release.removeprefix('sha256:')}").release.verdict
    rules, later = rules_of(project.config.policy, verdict)
    dealt = beside.deal if beside and beside.release == release else None
    rollout = Rollout(
        name=name,
        release=release,
        live=live.release,
        salt=dealt.salt if dealt else secrets.token_hex(8),
        rules=rules,
        later=later,
        plan=plan or plan_of(project.config.rollout),
        by=who,
        why=why,
    )
    if beside is None or dealt != deal_of(rollout, 0):  # else a start that was killed had moved the pointer
        reason, after = Reason(who=who, why=why or "rollout", verdict=verdict), beside.number if beside else 0
        beside = register.point(f"{name}@canary", release, reason, after=after, deal=deal_of(rollout, 0))
    rollout = replace(rollout, started_at=beside.at, stage_at=beside.at)
    project.keep(rollout)
    return rollout


def look(project: Project) -> Decision:
    """One look at the running rollout, from all of its stage's log; does what it decides. Raises Refused for none."""
    return Rolling(project, expect_running(project)).look()


def status(project: Project) -> Decision:
    """What one look would decide now; nothing is done. Raises Refused where no rollout is running."""
    return Rolling(project, expect_running(project)).find().decision


def advance(project: Project, *, who: str, why: str) -> Decision:
    """A person's step forward, over what the judge says; raises Refused for no rollout, HeadwayError for no reason."""
    rolling = Rolling(project, expect_running(project))
    return _overrule(rolling, forward(rolling.rollout), who=who, why=why)


def promote(project: Project, *, who: str, why: str) -> Decision:
    """A person's word that makes the release live from whatever stage it stands at; raises as `advance` does."""
    return _overrule(Rolling(project, expect_running(project)), "promote", who=who, why=why)


def rollback(project: Project, *, who: str, why: str) -> Move:
    """Take the running rollout back; where none runs, move live to the release that it had before. Needs no verdict.

    Raises Refused where the canary was withdrawn already, StoreError where live had no other release.
    """
    last = latest(project)
    if last is None or last.standing != "running":
        return project.register.back(f"{project.name}@live", who=who, why=why)
    move = project.register.withdraw(f"{project.name}@canary", who=who, why=why)
    decision = _without_judge(last, "roll back", message=f"roll back by {who}: {why}", by=who, at=now())
    project.keep(decision.verdict)
    project.keep(moved(last, decision, at=now()))
    if move is None:
        raise Refused(f"the canary of {project.name} was withdrawn already", hint="headway history")
    return move


def _overrule(rolling: Rolling, step: Action, *, who: str, why: str) -> Decision:
    found = rolling.find()
    if found.evidence is None:
        raise Refused(f"it cannot go forward: {found.decision.message}", hint="headway rollout watch")
    decision = overruled(found.decision, step, who=who, why=why, at=rolling.clock())
    rolling.act(found._replace(decision=decision), who=who)
    return decision


def _heads(project: Project) -> tuple[Move | None, Move | None]:
    """The moves that `live` and `canary` stand at, verified."""
    live, canary = (project.register.head(f"{project.name}@{pointer}") for pointer in ("live", "canary"))
    return live, canary


def _stand(rollout: Rollout, live: Move | None, canary: Move | None) -> bool:
    """Whether the pointers still carry a rollout that its record says is running."""
    return [move.release if move else "" for move in (live, canary)] == [rollout.live, rollout.release]


def _without_judge(rollout: Rollout, action: Action, *, message: str, by: str, at: datetime) -> Decision:
    """A decision for which nobody asked the judge: a person's rollback, or what the pointers already show."""
    stamp = at.astimezone().isoformat(timespec="milliseconds")
    verdict = Verdict(answer="undecided", subject=rollout.release, at=stamp, by=by, why=message)
    return Decision(action=action, verdict=verdict, message=message)
