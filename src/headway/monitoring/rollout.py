"""Rollout control: read what servers logged, let the judge decide at every step, and move the pointers.

The decision itself (plan, rules, key assignment, measurement, verdict) is in `registry.rollout`, which servers import
and which needs neither log nor store; this module is its only user with side effects. All state is in the store:
the next process, also after a crash, resumes from records, pointers and log. Pointers are moved first and the record is
saved after, so that a half-done step shows and is completed. A step forward needs both releases and the complete log; a
rollback needs only the pointers.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from headway.core import plugins
from headway.core.contracts import Lease
from headway.core.errors import HeadwayError, PointerMoved, Refused, StoreError
from headway.core.evidence import Evidence
from headway.core.monitoring import BrokenInput, MonitoringReport
from headway.core.record import read
from headway.core.release import PointerUpdate, Release
from headway.core.rollout import Action, Decision, Plan, Rollout, RolloutTraffic
from headway.core.threads import this_machine
from headway.core.verdict import Verdict
from headway.data.settings.policy import PolicySection
from headway.monitoring.budget import recorded_inputs
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.model_registry import KeyRole, UpdateReason
from headway.registry.project import Project
from headway.registry.rollout import (
    apply_decision,
    churn_limit,
    decide_rollout,
    measure_stage,
    model_change,
    next_step,
    overrule,
    plan_from_config,
    rollout_rules,
    stage_evidence,
    start_stage_tracking,
    traffic_assignment,
    update_tracking,
)
from headway.registry.settings.rollout import RolloutSection
from headway.storage import traffic
from headway.storage.addresses import log_root

if TYPE_CHECKING:  # it reads with polars
    from headway.monitoring._paired_traffic import PairedTraffic

BY = "rollout"
START_HINT = "headway rollout start"
MIN_DIGITS = 8
"""Hexadecimal digits of a digest that name a release."""


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class RolloutCheck(NamedTuple):
    """Result of a check: the decision, the evidence if it was measured, and where the pointers stood."""

    decision: Decision
    evidence: Evidence | None = None
    live: PointerUpdate | None = None
    canary: PointerUpdate | None = None


class RolloutController:
    """Controller of a running rollout: each step reads what is new in the log, decides, and acts.

    `clock` returns the time with its zone.
    """

    def __init__(self, project: Project, rollout: Rollout, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.project = project
        self.clock = clock
        self.rollout = rollout
        self._watch = start_stage_tracking(rollout)
        self._paired: PairedTraffic | None = None

    def evidence(self) -> Evidence:
        """Measure the stage up to now, and update the rollout's counts.

        Raises Refused if a release does not verify, StoreError or DataError if the log cannot be read.
        """
        if self._paired is None:
            live, release = (self._opened(digest) for digest in (self.rollout.live, self.rollout.release))
            reader = plugins.load_sibling(__name__, "paired_traffic", reads="the log of a rollout")
            self._paired = reader.PairedTraffic(self.project.config, self.rollout, live, release)
        for new in self._paired.read():
            self._watch = update_tracking(self._watch, new)
        paired = self._paired
        counts = {"requests": paired.requests, "of_release": paired.of_release, "lost_rows": paired.n_lost}
        self.rollout = replace(self.rollout, **counts)
        return stage_evidence(self.rollout, measure_stage(self._watch), machine=this_machine(), at=self.clock())

    def find(self) -> RolloutCheck:
        """Decide by all that is known now, without acting.

        If the pointers are not trustworthy, a release does not verify or the log cannot be read, the decision is to
        roll back or stop.
        """
        try:
            live, canary = _heads(self.project)
        except Refused as error:
            return RolloutCheck(self._noted("stop", f"the pointers do not verify: {error.what}"))
        unfinished = self._unfinished(live, canary)
        if unfinished:
            return RolloutCheck(unfinished, None, live, canary)
        try:
            evidence = self.evidence()
        except HeadwayError as error:
            return RolloutCheck(self._damaged(error), None, live, canary)
        decision = decide_rollout(self.rollout, evidence)
        if decision.action in ("advance", "promote") and (broken := self._broken_inputs()):
            columns = ", ".join(sorted({entry.column for entry in broken}))
            hold = f"it stays: {columns} is out of range in the requests that judge it, so repair the feed first"
            decision = self._noted("stay", hold)
        return RolloutCheck(decision, evidence, live, canary)

    def step(self) -> Decision:
        """Decide and act once; raises Refused if the rollout has ended."""
        self._catch_up()
        found = self.find()
        if found.decision.action == "stay":
            return found.decision
        try:
            self.act(found, who=BY)
        except PointerMoved:  # another process was first: check again
            return self.step()
        except Refused as error:  # changed since it was opened, so the rollout did not advance
            found = found._replace(decision=self._damaged(error))
            self.act(found, who=BY)
        return found.decision

    def act(self, found: RolloutCheck, *, who: str) -> None:
        """Carry out a decision: move the pointers, save evidence, verdict and rollout.

        Raises PointerMoved if a pointer has moved since the check, Refused if a release to promote does not verify.
        """
        decision = found.decision
        for record in (found.evidence, decision.verdict):
            if record is not None:
                self.project.save(record)
        after = apply_decision(self.rollout, decision, at=self._point(found, who))
        self.project.save(after)
        if decision.action == "advance":
            self._begin(after)
        self.rollout = after

    def _begin(self, rollout: Rollout) -> None:
        """Follow a stage from its start."""
        self.rollout, self._watch, self._paired = rollout, start_stage_tracking(rollout), None

    def _opened(self, digest: str) -> Release:
        return self.project.registry.resolve(f"{self.rollout.name}@{digest.removeprefix('sha256:')}").release

    def _catch_up(self) -> None:
        """Start over with the stage if another process moved the rollout on."""
        last = require_running_rollout(self.project)
        if (last.started_at, last.stage_at) != (self.rollout.started_at, self.rollout.stage_at):
            self._begin(last)

    def _point(self, found: RolloutCheck, who: str) -> datetime:
        """Move the pointers as decided, and return when."""
        if found.decision.action == "advance":
            return datetime.fromisoformat(self._advance(found, who).at)
        if found.decision.action == "promote":
            self._promote(found, who)
        canary = found.canary
        if canary is None or canary.release == self.rollout.release:  # otherwise it is that of another rollout
            self.project.registry.withdraw(
                self._canary, who=who, why=found.decision.message, after=canary.number if canary else None
            )
        return self.clock()

    def _advance(self, found: RolloutCheck, who: str) -> PointerUpdate:
        """Move the canary to the next stage, unless a killed process did before it saved the record."""
        rollout, canary, stage = self.rollout, found.canary, self.rollout.stage + 1
        if canary and canary.assignment and canary.assignment.stage >= stage:
            return canary
        return self.project.registry.point(
            self._canary,
            rollout.release,
            UpdateReason(who=who, why=found.decision.message, verdict=found.decision.verdict),
            after=canary.number if canary else 0,
            assignment=traffic_assignment(rollout, stage),
        )

    def _promote(self, found: RolloutCheck, who: str) -> None:
        """Make the release live, unless the canary has moved since the check, such as by a person's rollback."""
        rollout, live, canary = self.rollout, found.live, found.canary
        if live is None or live.release != rollout.release:
            reason = UpdateReason(who=who, why=found.decision.message, verdict=found.decision.verdict)
            after, unmoved = live.number if live else 0, {self._canary: canary.number if canary else 0}
            self.project.registry.point(f"{rollout.name}@live", rollout.release, reason, after=after, unmoved=unmoved)

    def _broken_inputs(self) -> list[BrokenInput]:
        """Return the inputs that reports found broken since the rollout started."""
        accepted = self.project.config[RetrainSection].accept_out_of_range
        recorded = recorded_inputs(self.project.records(MonitoringReport), accepted=accepted)
        return [entry for entry in recorded if entry.days[-1] >= self.rollout.started_at[:10]]

    @property
    def _canary(self) -> str:
        return f"{self.rollout.name}@canary"

    def _unfinished(self, live: PointerUpdate | None, canary: PointerUpdate | None) -> Decision | None:
        """Return the decision that only the pointers show, not the record: a half-done step or another live release."""
        rollout = self.rollout
        if live and live.release == rollout.release:
            return self._noted("promote", f"it is live by {live.who}: {live.why}")
        if canary is None or canary.release != rollout.release:
            why = f"{canary.who}: {canary.why}" if canary else "the pointer was never moved"
            return self._noted("roll back", f"it is not the canary any more, by {why}")
        if live is None or live.release != rollout.live:
            return self._noted("stop", f"{rollout.name}@live moved to another release during the rollout")
        assignment = canary.assignment
        if assignment is None or assignment.terms != rollout.terms or assignment.stage < rollout.stage:
            return self._noted("roll back", "the record of the rollout is not what was signed with its canary")
        return self._noted("advance", canary.why) if assignment.stage > rollout.stage else None

    def _damaged(self, error: HeadwayError) -> Decision:
        """Roll back if the release does not verify; stop if it can no longer be compared with live."""
        try:
            self._opened(self.rollout.release)
        except HeadwayError as own:
            return self._noted("roll back", f"rolled back because it does not verify: {own.what}")
        return self._noted("stop", f"stopped because it cannot be compared with live any more: {error.what}")

    def _noted(self, action: Action, message: str) -> Decision:
        return _decision_without_judge(self.rollout, action, message=message, by=BY, at=self.clock())


def latest_rollout(project: Project) -> Rollout | None:
    """Return the last rollout of a project, running or ended; None if there is none."""
    content = project.state.latest("rollout", name=project.name)
    return read(Rollout, content) if content else None


def require_running_rollout(project: Project) -> Rollout:
    """Return the running rollout; raises Refused if there is none."""
    last = latest_rollout(project)
    if last is None or last.status != "running":
        raise Refused(f"no rollout of {project.name} is running", hint=START_HINT)
    return last


def rollout_traffic(project: Project, rollout: Rollout, *, until: str = "") -> RolloutTraffic | None:
    """Count what the release of a rollout answered, by the log; None if the log cannot be read.

    `until` is when the next rollout of the release started, if there is one.
    """
    reader = plugins.load_sibling(__name__, "paired_traffic", reads="the log of a rollout")
    try:
        counted: RolloutTraffic = reader.count_rollout_traffic(
            log_root(project.config, rollout.name), rollout, until=until
        )
    except HeadwayError:
        return None
    return counted


def start_rollout(project: Project, release: str, *, plan: Plan | None = None, who: str, why: str = "") -> Rollout:
    """Start the rollout of a published release (its digest) against the live one, by `[rollout]` or another plan.

    Raises Refused if a rollout is running, nothing or this release is live, or its verdict is not pass. One process at
    a time starts or follows a rollout; another one waits for it, `START_WAIT_S` at most.
    """
    _expect_none_runs(project)
    with project.lease("rollout", wait_s=START_WAIT_S):
        return _start(project, release, plan=plan, who=who, why=why)


def _expect_none_runs(project: Project) -> tuple[PointerUpdate | None, PointerUpdate | None]:
    """Return where live and canary stand; raises Refused if a rollout is running."""
    last, (live, canary) = latest_rollout(project), _heads(project)
    if last and last.status == "running" and _matches_pointers(last, live, canary):
        what = f"a rollout of {project.name} is running: {last.release} at {last.current.name}"
        raise Refused(what, hint="headway rollout")
    return live, canary


def _start(project: Project, release: str, *, plan: Plan | None, who: str, why: str) -> Rollout:
    name, register = project.name, project.registry
    live, canary = _expect_none_runs(project)
    if live is None or live.release in ("", release):
        what = "nothing is" if live is None or not live.release else "this release is already"
        raise Refused(f"{what} live, so there is nothing to compare with", hint="headway release")
    new, current = (register.resolve(f"{name}@{of.removeprefix('sha256:')}").release for of in (release, live.release))
    change, verdict = model_change(new, current), new.verdict
    churn = churn_limit(project.config[RolloutSection], new, change=change, live=live.release)
    rules, later = rollout_rules(project.config[PolicySection], verdict, churn=churn)
    assigned = canary.assignment if canary and canary.release == release else None
    rollout = Rollout(
        name=name,
        release=release,
        live=live.release,
        salt=assigned.salt if assigned else secrets.token_hex(8),
        rules=rules,
        delayed_rules=later,
        change=change,
        plan=plan or plan_from_config(project.config[RolloutSection]),
        by=who,
        why=why,
    )
    if canary is None or assigned != traffic_assignment(
        rollout, 0
    ):  # otherwise a killed start had already moved the pointer
        reason, after = UpdateReason(who=who, why=why or "rollout", verdict=verdict), canary.number if canary else 0
        canary = register.point(
            f"{name}@canary", release, reason, after=after, assignment=traffic_assignment(rollout, 0)
        )
    rollout = replace(rollout, started_at=canary.at, stage_at=canary.at)
    project.save(rollout)
    return rollout


def step_rollout(project: Project) -> Decision:
    """Step the running rollout once, from the complete log of its stage; raises Refused if there is none."""
    return RolloutController(project, require_running_rollout(project)).step()


def rollout_status(project: Project) -> Decision:
    """Return what one step would decide now, without acting; raises Refused if no rollout is running."""
    return RolloutController(project, require_running_rollout(project)).find().decision


def advance_rollout(project: Project, *, who: str, why: str, from_stage: int | None = None) -> Decision | None:
    """Advance by a person's decision that overrides the judge. Return None if `from_stage` was left already.

    Parameters
    ----------
    from_stage : int, optional
        Number of the stage that the person saw, from 1; default: the one that the rollout is at.

    Raises
    ------
    Refused
        If no rollout is running, or it has not reached `from_stage`.
    HeadwayError
        If the reason is empty.
    """
    controller = RolloutController(project, require_running_rollout(project))
    check, stage = controller.find(), controller.rollout.stage + 1
    if from_stage is not None and from_stage < stage:
        return None
    if from_stage is not None and from_stage > stage:
        hint = f'headway rollout advance --from {stage} --why "..."'
        raise Refused(f"the rollout is at stage {stage}, and has not reached stage {from_stage}", hint=hint)
    if from_stage is not None and check.evidence is None and check.decision.action in ("advance", "promote"):
        controller.act(check, who=BY)  # another person moved the pointer, and has not saved that yet
        return None
    try:
        return _overrule(controller, check, next_step(controller.rollout), who=who, why=why)
    except PointerMoved:  # another person was first: look again
        if from_stage is None:
            raise
        return advance_rollout(project, who=who, why=why, from_stage=from_stage)


def promote_rollout(project: Project, *, who: str, why: str) -> Decision:
    """Make the release live from any stage, by a person's decision; raises as `advance_rollout` does."""
    controller = RolloutController(project, require_running_rollout(project))
    return _overrule(controller, controller.find(), "promote", who=who, why=why)


def roll_back(
    project: Project,
    *,
    from_release: str,
    who: str,
    why: str,
    to: str = "",
    after: int | None = None,
    key: KeyRole = "publisher",
) -> PointerUpdate | None:
    """Take a release out of traffic; needs no verdict. Return None if it was out of traffic already.

    If a rollout of the release runs, that ends. If the release is live, live goes back to the release before it. Both
    happen if it goes live at the same time. Repeating the call, or making it twice at once, moves nothing further.

    Parameters
    ----------
    from_release : str
        Digest of the release to leave, or its first 8 digits or more.
    to : str
        Digest of another release that live had, to go back further.
    after : int, optional
        Number of the last update of live that the person saw.
    key : {"publisher", "operator"}
        Whose key signs the updates.

    Raises
    ------
    Refused
        If the release is live and a rollout of another one runs.
    StoreError
        If live had no other release, or neither live nor canary ever had `from_release`.
    PointerMoved
        If the release is live by another update than `after`.
    """
    register, name = project.registry, project.name
    rollout, live, canary = latest_rollout(project), *_last_updates(project)
    leave = _complete_digest(project, from_release, [update.release for update in (live, canary) if update])
    went_live = live is not None and live.release == leave
    if rollout is None or rollout.status != "running" or rollout.release != leave:
        act = partial(register.roll_back, who=who, why=why, to=to, key=key)
        return _return_live(project, leave, act, after=after)
    unmoved = {} if went_live else {f"{name}@live": live.number if live else 0}
    try:
        update = register.withdraw(f"{name}@canary", who=who, why=why, unmoved=unmoved, key=key)
        if live and went_live:
            update = register.roll_back(f"{name}@live", who=who, why=why, after=live.number, key=key)
    except PointerMoved:  # the rollout moved on, or another person was first: look again
        return roll_back(project, from_release=leave, who=who, why=why, to=to, after=after, key=key)
    if update is None and latest_rollout(project) != rollout:  # another person has ended it, and saved that
        return None
    decision = _decision_without_judge(rollout, "roll back", message=f"roll back by {who}: {why}", by=who, at=utc_now())
    project.save(decision.verdict)
    project.save(apply_decision(rollout, decision, at=utc_now()))
    return update


def roll_forward(
    project: Project,
    *,
    from_release: str,
    who: str,
    why: str,
    to: str = "",
    after: int | None = None,
    key: KeyRole = "publisher",
) -> PointerUpdate | None:
    """Move live forward again to the release that a rollback left; otherwise as `roll_back`.

    `from_release` is what live goes back to since, and `to` one of several releases that were left.
    """
    leave = _complete_digest(project, from_release, [update.release for update in _last_updates(project) if update])
    act = partial(project.registry.roll_forward, who=who, why=why, to=to, key=key)
    return _return_live(project, leave, act, after=after)


def release_to_leave(project: Project) -> str:
    """Return the digest of the release that a rollback would leave: that of a running rollout, or live's, or nothing.

    Nothing is verified: it is for a message.
    """
    rollout, (live, _) = latest_rollout(project), _last_updates(project)
    if rollout and rollout.status == "running":
        return rollout.release
    return live.release if live else ""


def _return_live(
    project: Project, leave: str, act: Callable[..., PointerUpdate], *, after: int | None
) -> PointerUpdate | None:
    """Move live by `act` if it is at the release to leave; return None if it is not."""
    live, canary = _last_updates(project)
    if live is None or live.release != leave:
        return None
    rollout = latest_rollout(project)
    if rollout and rollout.status == "running" and _matches_pointers(rollout, live, canary):
        message = f"a rollout of {rollout.release} is compared with it: end that first"
        raise Refused(message, hint=f'headway rollout rollback --from {rollout.release[:19]} --why "..."')
    try:
        return act(f"{project.name}@live", after=live.number if after is None else after)
    except PointerMoved:  # another person was first: look again
        if after is not None and live.number != after:
            raise
        return _return_live(project, leave, act, after=after)


def _last_updates(project: Project) -> tuple[PointerUpdate | None, PointerUpdate | None]:
    """Return the last updates of live and canary, not verified: a rollback needs no more."""
    live, canary = (project.registry.last_update(f"{project.name}@{pointer}") for pointer in ("live", "canary"))
    return live, canary


def _complete_digest(project: Project, prefix: str, current: Collection[str]) -> str:
    """Return the complete digest of a release that live or canary had; the history is read for a former one only."""
    digits = prefix.removeprefix("sha256:")
    if len(digits) < MIN_DIGITS:
        raise StoreError(f"{prefix!r} is not a digest of at least {MIN_DIGITS} digits", hint="headway history")
    matching = {release for release in current if release.removeprefix("sha256:").startswith(digits)}
    if not matching:
        had = chain.from_iterable(project.registry.releases(f"{project.name}@{at}") for at in ("live", "canary"))
        matching = {release for release in had if release.removeprefix("sha256:").startswith(digits)}
    if len(matching) != 1:
        message = f"{len(matching)} releases that {project.name} had as live or canary begin with {prefix}"
        raise StoreError(message, hint="headway history")
    return matching.pop()


def _overrule(controller: RolloutController, check: RolloutCheck, step: Action, *, who: str, why: str) -> Decision:
    if check.evidence is None:
        raise Refused(f"it cannot go forward: {check.decision.message}", hint="headway rollout watch")
    decision = overrule(check.decision, step, who=who, why=why, at=controller.clock())
    controller.act(check._replace(decision=decision), who=who)
    return decision


def _heads(project: Project) -> tuple[PointerUpdate | None, PointerUpdate | None]:
    """Return the verified updates that `live` and `canary` stand at."""
    live, canary = (project.registry.head(f"{project.name}@{pointer}") for pointer in ("live", "canary"))
    return live, canary


def _matches_pointers(rollout: Rollout, live: PointerUpdate | None, canary: PointerUpdate | None) -> bool:
    """Return whether the pointers still match a rollout that is recorded as running."""
    return [move.release if move else "" for move in (live, canary)] == [rollout.live, rollout.release]


def _decision_without_judge(rollout: Rollout, action: Action, *, message: str, by: str, at: datetime) -> Decision:
    """Return a decision without a verdict: a person's rollback, or what the pointers already show."""
    stamp = at.astimezone().isoformat(timespec="milliseconds")
    verdict = Verdict(answer="undecided", subject=rollout.release, at=stamp, by=by, why=message)
    return Decision(action=action, verdict=verdict, message=message)


PERIOD_S, START_WAIT_S = 1.0, 30.0
Callback = Callable[[str], object]


def follow_rollout(
    project: Project,
    *,
    callback: Callback,
    wait: Callable[[float], object] = time.sleep,
    clock: Callable[[], datetime] = utc_now,
    patient: bool = True,
) -> Rollout:
    """Step the rollout every `PERIOD_S` seconds until it ends, and report each change by `callback`.

    Unless `patient`, return while it runs once no request has come for `[rollout] quiet_s`. Raises Refused if no
    rollout is running, and LeaseHeld if another process follows it.
    """
    controller = RolloutController(project, require_running_rollout(project), clock=clock)
    with project.lease("rollout") as lease:
        return _follow(controller, lease, callback=callback, wait=wait, clock=clock, patient=patient)


def _follow(
    controller: RolloutController,
    lease: Lease,
    *,
    callback: Callback,
    wait: Callable[[float], object],
    clock: Callable[[], datetime],
    patient: bool,
) -> Rollout:
    project = controller.project
    reporter, idle = (
        _ChangeReporter(callback),
        _IdleDetector(timedelta(seconds=project.config[RolloutSection].quiet_s), clock),
    )
    while True:
        lease.expect_held()
        try:
            decision = controller.step()
        except Refused:
            last = latest_rollout(project)
            if last is None or last.status == "running":
                raise
            callback(f"{last.current.name} was ended by another process: {last.status}. {last.why}")
            return last
        reporter.of(controller.rollout, decision)
        if controller.rollout.status != "running":
            return controller.rollout
        if idle.begins(controller.rollout):
            callback(idle_message(project, controller.rollout, clock()) or _ignored_message(controller.rollout))
            if not patient:
                return controller.rollout
        wait(PERIOD_S)


def idle_message(project: Project, rollout: Rollout, at: datetime) -> str:
    """Return the message that live gets no requests, with a hint; empty if it had one in the last `[rollout] quiet_s`.

    `at` is a time with its zone.
    """
    last = traffic.last_request_at(log_root(project.config, rollout.name), rollout.name, rollout.live)
    if last and at - last < timedelta(seconds=project.config[RolloutSection].quiet_s):
        return ""
    what = f"the last request to live was at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "live has had no request yet"
    return f"{what}, and a rollout needs requests: headway serve {rollout.name}@live answers them"


def _ignored_message(rollout: Rollout) -> str:
    """Return the reason why requests to live give no evidence on the release."""
    if rollout.share:
        return "requests have no key, and a canary is assigned by key: docs/serving.md shows how to send one"
    return (
        "live answers without a shadow of this release: check the log of its server, such as for a release that does "
        "not verify"
    )


class _ChangeReporter:
    """Reports each change of a rollout once: of its stage, of the action, of the answer of a rule."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._last: object = None

    def of(self, rollout: Rollout, decision: Decision) -> None:
        rule_results = decision.verdict.rule_results
        found = {
            rule_result.rule.measure: rule_result.answer if rule_result.measurement else "not seen"
            for rule_result in rule_results
        }
        now = (rollout.stage, decision.action, found)
        if now != self._last:
            seen = ", ".join(f"{measure} {answer}" for measure, answer in found.items())
            counted = f"{rollout.current.name} stays after {rollout.requests:,} requests: {seen}"
            self._callback(counted if decision.action == "stay" and rollout.requests else decision.message)
        self._last = now


class _IdleDetector:
    """Detects that requests have stopped; reported once, until the next request."""

    def __init__(self, max_idle: timedelta, clock: Callable[[], datetime]) -> None:
        self._max_idle, self._clock = max_idle, clock
        self._seen: tuple[int, int] | None = None
        self._since, self._reported = clock(), False

    def begins(self, rollout: Rollout) -> bool:
        seen = (rollout.stage, rollout.requests)
        if seen != self._seen:
            self._seen, self._since, self._reported = seen, self._clock(), False
        begins = not self._reported and self._clock() - self._since >= self._max_idle
        self._reported = self._reported or begins
        return begins
