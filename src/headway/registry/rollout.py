"""What to do with a rollout: the one judge reads what was measured at any look, and the rollout moves or ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from msgspec.structs import replace

from headway.core.config import FILE, PolicySection
from headway.core.errors import ConfigError, Refused
from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.release import Deal
from headway.core.rollout import Action, Decision, Plan, Rollout, Stage, Standing
from headway.core.sections.rollout import RolloutSection
from headway.core.verdict import Rule, Ruling, Verdict
from headway.evaluation import canary
from headway.registry.judge import ALPHA, judge, override
from headway.registry.rollout_words import sentence, summary

ERRORS = Rule(measure="error_rate.drop", at_most=0.005)
SLOW = Rule(measure="slow_requests.drop", at_most=0.01)
# Rules of a release that can be followed online, and the measure that follows each: a limit is the release's own.
OWN = {"decision_churn": "decision_churn", "brier.drop": "brier.drop", "worst_slice.brier.drop": "brier.drop"}
LABELLED = ("brier.drop",)
_ENDS: dict[Action, Standing] = {"promote": "promoted", "roll back": "rolled back", "stop": "inconclusive"}
_WHERE = f"{FILE} [[policy.canary]]"
_NEAR = 1e-9
_HOUR_S = 3600.0


def plan_of(settings: RolloutSection) -> Plan:
    """The stages that a project asks for; raises ConfigError unless each answers more keys than the one before."""
    shares = settings.shares
    if any(later <= share for share, later in pairwise(shares)):
        raise ConfigError(
            f"the shares of a rollout must rise: {', '.join(f'{share:g}' for share in shares)}",
            where="[rollout] shares",
            hint="shares = [0, 0.05, 0.25, 0.5]",
        )
    at_most_s = settings.at_most_hours * _HOUR_S
    return Plan(
        stages=tuple(Stage(share=share, at_most_s=at_most_s, min_requests=settings.min_requests) for share in shares)
    )


def rules_of(policy: PolicySection, released: Verdict) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """The rules of a rollout, and those that count once labels come: `[[policy.canary]]`, all of which must be met.

    Without them: errors and slow requests beside live, and what the release was judged by that can be followed online,
    at the limits of its own verdict. Raises ConfigError for a rule that can never be decided.
    """
    if policy.canary:
        return tuple(_decidable(rule) for rule in policy.canary), ()
    limits: dict[str, Rule] = {}
    for ruling in released.rulings:
        name = OWN.get(ruling.rule.measure)
        if name and (name == ruling.rule.measure or name not in limits):
            limits[name] = replace(ruling.rule, measure=name)
    now = [rule for name, rule in limits.items() if name not in LABELLED]
    return (ERRORS, SLOW, *now), tuple(rule for name, rule in limits.items() if name in LABELLED)


def alpha_of(rollout: Rollout) -> float:
    """The chance of false harm that each rule has at this stage, so that a sound rollout fails in 5 % at most.

    The first stage that callers meet has half of it, or all where it is the only one; the others divide the rest.
    """
    shares = [stage.share for stage in rollout.plan.stages]
    first = next((number for number, share in enumerate(shares) if share), 0)
    part = 1.0 if len(shares) == 1 else 0.5 if rollout.stage == first else 0.5 / (len(shares) - 1)
    return ALPHA * part / len((*rollout.rules, *rollout.later))


def deal_of(rollout: Rollout, stage: int) -> Deal:
    """What the move that brings a rollout's canary to a stage is signed with."""
    return Deal(share=rollout.plan.stages[stage].share, salt=rollout.salt, stage=stage, terms=rollout.terms)


def watch(rollout: Rollout) -> canary.Watch:
    """What follows the traffic of the stage that a rollout stands at; every stage begins with one of its own."""
    measures = [rule.measure for rule in (*rollout.rules, *rollout.later)]
    return canary.begin(measures, share=rollout.current.share, alpha=alpha_of(rollout))


def evidence_of(rollout: Rollout, measurements: Sequence[Measurement], *, machine: Machine, at: datetime) -> Evidence:
    """What was measured of a rollout at its stage, as the judge reads it."""
    return Evidence(
        subject=rollout.release,
        reference=rollout.live,
        dataset="traffic",
        period=rollout.current.name,
        machine=machine,
        measurements=tuple(measurements),
        at=at.astimezone().isoformat(timespec="milliseconds"),
    )


def decide(rollout: Rollout, evidence: Evidence) -> Decision:
    """The next move of a rollout by evidence on its stage: only a pass goes forward, and harm that is shown goes back.

    Undecided stays, and stops when the time of the stage is over; a pass waits until the release has answered as many
    requests as the stage asks for. Measurements that are not good at every look, or not
    at this rollout's chance of error, are no evidence. Raises Refused for evidence on something else, or after the end.
    """
    _expect_its_own(rollout, evidence)
    usable = tuple(each for each in evidence.measurements if _holds(each, alpha_of(rollout)))
    seen = replace(evidence, measurements=usable)
    later = [rule for rule in rollout.later if seen.find(rule.measure)]
    verdict = judge(seen, PolicySection(release=(*rollout.rules, *later)))
    verdict = replace(verdict, rulings=tuple(_worded(ruling) for ruling in verdict.rulings))
    action = _action(rollout, verdict)
    unknown = [rule.measure for rule in rollout.later if rule not in later]
    return Decision(action=action, verdict=verdict, message=summary(action, rollout, verdict, unknown))


def forward(rollout: Rollout) -> Action:
    """The step forward from this stage: `advance`, or `promote` from the last."""
    return "advance" if rollout.stage + 1 < len(rollout.plan.stages) else "promote"


def overruled(decision: Decision, action: Action, *, who: str, why: str, at: datetime) -> Decision:
    """A person's action in place of the judge's; forward it is an override, back it needs no verdict of a machine.

    Raises HeadwayError unless who and why are said.
    """
    verdict = override(decision.verdict, who=who, why=why, at=at.astimezone().isoformat(timespec="seconds"))
    if action not in ("advance", "promote"):
        verdict = replace(verdict, answer=decision.verdict.answer)
    return Decision(action=action, verdict=verdict, message=f"{action} by {who}: {why}")


def moved(rollout: Rollout, decision: Decision, *, at: datetime) -> Rollout:
    """The rollout after a decision; it is the same where the decision is to stay."""
    stamp = at.astimezone().isoformat(timespec="milliseconds")
    if decision.action == "stay":
        return rollout
    if decision.action == "advance":
        stage = rollout.stage + 1
        return replace(rollout, stage=stage, stage_at=stamp, requests=0, of_release=0, why=decision.message)
    return replace(rollout, standing=_ENDS[decision.action], stage_at=stamp, why=decision.message)


def _decidable(rule: Rule) -> Rule:
    if (rule.at_most is None) == (rule.at_least is None):
        raise ConfigError(
            f"a rule has one limit, {rule.measure!r} has none or two", where=_WHERE, hint="at_most = 0.01"
        )
    if rule.measure not in canary.MEASURES:
        raise ConfigError(
            f"{rule.measure!r} cannot be followed request by request",
            where=_WHERE,
            hint=f"one of {', '.join(canary.MEASURES)}",
        )
    return rule


def _expect_its_own(rollout: Rollout, evidence: Evidence) -> None:
    if rollout.standing != "running":
        raise Refused(f"the rollout of {rollout.name} has ended: {rollout.standing}", hint="start a new rollout")
    wanted, met = (rollout.release, rollout.current.name), (evidence.subject, evidence.period)
    if wanted != met:
        raise Refused(f"evidence on {met[0]} at {met[1]} cannot move a rollout of {wanted[0]} at {wanted[1]}")


def _holds(measurement: Measurement, alpha: float) -> bool:
    return measurement.looks == "anytime" and measurement.level >= 1 - alpha - ALPHA - _NEAR


def _action(rollout: Rollout, verdict: Verdict) -> Action:
    if verdict.answer == "fail":
        return "roll back"
    if verdict.answer == "pass" and rollout.of_release >= rollout.current.min_requests:
        return forward(rollout)
    began, now = (datetime.fromisoformat(each).astimezone() for each in (rollout.stage_at, verdict.at))
    return "stop" if (now - began).total_seconds() >= rollout.current.at_most_s else "stay"


def _worded(ruling: Ruling) -> Ruling:
    return replace(ruling, message=sentence(ruling, ruling.measurement)) if ruling.measurement else ruling
