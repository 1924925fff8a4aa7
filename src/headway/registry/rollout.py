"""Rollout decisions: stages, rules, paired measurements, and the verdict on each stage.

Everything here is a pure function of records; `monitoring.rollout` reads the log and moves the pointers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats
from headway.core.config import FILE
from headway.core.errors import ConfigError, Refused
from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.release import Release, TrafficAssignment
from headway.core.rollout import (
    Action,
    Decision,
    ModelChange,
    Plan,
    Rollout,
    RolloutStage,
    RolloutStatus,
    RolloutTraffic,
)
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import LIVE, Rule, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.evaluation.statistics import sequential
from headway.evaluation.statistics.claims import MAX_GROUPS_RATIO
from headway.evaluation.statistics.sequential import (
    PAIRED_LOSS,
    PAIRED_PROPORTION,
    PROPORTION,
    UNIT_LOSS,
    ConfidenceSequence,
    Keys,
    Observations,
    ValueGrid,
    unpaired_difference,
)
from headway.registry.judge import ALPHA, CHURN, judge, override_verdict, rows_needed
from headway.registry.settings.rollout import RolloutSection

ERRORS = Rule(measure="error_rate.drop", at_most=0.005)
SLOW = Rule(measure="slow_requests.drop", at_most=0.01)
SLOWER = Rule(measure="slower_than_live", at_most=0.25)
MAX_LATENCY_RATIO = 5.0
"""Ratio to live's latency on the same request above which an answer of a release counts as slower than live's."""
# Rules of a release that labels can judge online, and the measure that follows each: a limit is the release's own.
FOLLOWED_BY = dict.fromkeys(("brier.drop", "live.brier.drop", "worst_slice.brier.drop"), "brier.drop")
NEW_MODEL_CHURN, CHURN_RATIO, MIN_CHURN = 0.2, 2.0, 0.05
"""Limit on the decisions of a new model that differ from live's; after an evaluation against live, the ratio of the
limit to the upper bound that it showed, and the smallest such limit."""
_ENDS: dict[Action, RolloutStatus] = {"promote": "promoted", "roll back": "rolled back", "stop": "inconclusive"}
_WHERE = f"{FILE} [[policy.canary]]"
_TOLERANCE = 1e-9
_HOUR_S = 3600.0


def plan_from_config(settings: RolloutSection) -> Plan:
    """Return the stages that a project configures; raises ConfigError unless the shares rise."""
    shares = settings.shares
    if any(later <= share for share, later in pairwise(shares)):
        raise ConfigError(
            f"the shares of a rollout must rise: {', '.join(f'{share:g}' for share in shares)}",
            where="[rollout] shares",
            hint="shares = [0, 0.05, 0.25, 0.5]",
        )
    at_most_s = settings.at_most_hours * _HOUR_S
    return Plan(
        stages=tuple(
            RolloutStage(share=share, at_most_s=at_most_s, min_requests=settings.min_requests) for share in shares
        )
    )


def model_change(release: Release, live: Release) -> ModelChange:
    """Return whether a release is another form of the live model, by the digests of the fitted models.

    Another calibrator or threshold counts as a new model, since both change decisions on purpose. A release of an
    earlier headway does not name its model; with the same bytes as live it is the same, otherwise a new one.
    """
    if (release.calibrator, release.threshold) != (live.calibrator, live.threshold):
        return "new model"
    models = [one.baseline or ("" if one.variant.steps else one.variant.digest) for one in (release, live)]
    if not all(models):
        models = [one.variant.artifact.digest for one in (release, live)]
    return "same model" if models[0] == models[1] else "new model"


def churn_limit(settings: RolloutSection, release: Release, *, change: ModelChange, live: str) -> Rule | None:
    """Return the rule on decisions that differ from live's, from the digest `live`; None if the task has no decisions.

    Another form of the model is held to the limit of the release's own verdict, where it has one, and so is a new model
    whose verdict compares it with live. Otherwise a new model differs on purpose: it may differ by `CHURN_RATIO` times
    what its evaluation against live showed.
    """
    if release.variant.task not in (*DECIDES, MULTILABEL):
        return None
    limit = settings.churn_same_model if change == "same model" else settings.churn_new_model
    if limit is not None:
        return Rule(measure=CHURN, at_most=limit)
    against_live = [evidence for evidence in release.evidence if evidence.reference == live]
    own = [result.rule for result in release.verdict.rule_results if result.rule.measure == CHURN]
    if change == "same model" or (own and against_live):
        return next(iter(own), None)
    measured = [evidence.find(CHURN) for evidence in against_live]
    measured += [evidence.find(LIVE + CHURN) for evidence in release.evidence if evidence.live == live]
    shown = [found.high for found in measured if found and found.has_interval]
    limit = min(max(CHURN_RATIO * max(shown), MIN_CHURN), 1.0) if shown else NEW_MODEL_CHURN
    return Rule(measure=CHURN, at_most=limit)


def rollout_rules(
    policy: PolicySection, released: Verdict, *, churn: Rule | None = None
) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    """Return a rollout's rules, and those that apply once labels arrive: `[[policy.canary]]`, all of which must pass.

    By default: errors, slow requests and latency against live, decisions that differ (`churn_limit`), and the rules
    of the release's own verdict that labels can judge, at its limits. Raises ConfigError for a rule that can never be
    decided.
    """
    if policy.canary:
        return tuple(_require_decidable(rule) for rule in policy.canary), ()
    limits: dict[str, Rule] = {}
    for rule_result in released.rule_results:
        name = FOLLOWED_BY.get(rule_result.rule.measure)
        if name and (name == rule_result.rule.measure or name not in limits):
            limits[name] = replace(rule_result.rule, measure=name)
    return (ERRORS, SLOW, SLOWER, *((churn,) if churn else ())), tuple(limits.values())


def stage_alpha(rollout: Rollout) -> float:
    """Return the false-alarm rate of each rule at this stage, so that a sound rollout fails in at most 5 %.

    The first stage with callers has half of it, or all if it is the only one; the others share the rest.
    """
    shares = [stage.share for stage in rollout.plan.stages]
    first = next((number for number, share in enumerate(shares) if share), 0)
    part = 1.0 if len(shares) == 1 else 0.5 if rollout.stage == first else 0.5 / (len(shares) - 1)
    return ALPHA * part / len((*rollout.rules, *rollout.delayed_rules))


def traffic_assignment(rollout: Rollout, stage: int) -> TrafficAssignment:
    """Return the assignment that the canary's pointer is signed with at a stage."""
    return TrafficAssignment(
        share=rollout.plan.stages[stage].share, salt=rollout.salt, stage=stage, terms=rollout.terms
    )


def start_stage_tracking(rollout: Rollout) -> StageTracker:
    """Start the trackers of the current stage; every stage starts with new ones."""
    measures = [rule.measure for rule in (*rollout.rules, *rollout.delayed_rules)]
    return start_tracking(measures, share=rollout.current.share, alpha=stage_alpha(rollout))


def stage_evidence(
    rollout: Rollout, measurements: Sequence[Measurement], *, machine: Machine, at: datetime
) -> Evidence:
    """Return the measurements of a stage as evidence for the judge."""
    return Evidence(
        subject=rollout.release,
        reference=rollout.live,
        dataset="traffic",
        period=rollout.current.name,
        machine=machine,
        measurements=tuple(measurements),
        at=at.astimezone().isoformat(timespec="milliseconds"),
    )


def decide_rollout(rollout: Rollout, evidence: Evidence) -> Decision:
    """Decide the next action by evidence on the current stage: only a pass advances, and shown harm rolls back.

    Undecided stays, and stops when the time of the stage is over. A pass waits until the release has answered the
    minimum number of requests. Measurements that are not anytime-valid, or not at this rollout's false-alarm rate, are
    ignored. Raises Refused for evidence on something else, or after the end.
    """
    _require_matching(rollout, evidence)
    usable = [
        measurement for measurement in evidence.measurements if _is_anytime_valid(measurement, stage_alpha(rollout))
    ]
    of_stage = [measurement for measurement in usable if not measurement.slice]
    later = [rule for rule in rollout.delayed_rules if any(rule.measure == found.name for found in usable)]
    policy = PolicySection(release=(*rollout.rules, *later))
    verdict = judge(replace(evidence, measurements=tuple(of_stage)), policy)
    windows = {measurement.name: measurement for measurement in usable if measurement.slice}
    alone = replace(evidence, measurements=tuple(replace(window, slice="") for window in windows.values()))
    verdict = _with_harm(verdict, judge(alone, policy), windows)
    action = _action(rollout, verdict)
    unknown = [rule.measure for rule in rollout.delayed_rules if rule not in later]
    return Decision(action=action, verdict=verdict, message=decision_message(action, rollout, verdict, unknown))


def _with_harm(verdict: Verdict, of_windows: Verdict, windows: Mapping[str, Measurement]) -> Verdict:
    """Return the verdict on the whole stage, failed by the rules that a window fails: a window decides nothing else."""
    results = tuple(
        replace(harm, measurement=windows[harm.rule.measure]) if harm.answer == "fail" != result.answer else result
        for result, harm in zip(verdict.rule_results, of_windows.rule_results, strict=True)
    )
    failed = any(result.answer == "fail" for result in results)
    answer = "fail" if failed else verdict.answer
    return replace(verdict, answer=answer, rule_results=tuple(map(_with_message, results)))


def next_step(rollout: Rollout) -> Action:
    """Return the step forward from this stage: `advance`, or `promote` from the last."""
    return "advance" if rollout.stage + 1 < len(rollout.plan.stages) else "promote"


def overrule(decision: Decision, action: Action, *, who: str, why: str, at: datetime) -> Decision:
    """Return a person's action in place of the judge's: forward it is an override, back it needs no verdict.

    Raises HeadwayError unless who and why are given.
    """
    verdict = override_verdict(decision.verdict, who=who, why=why, at=at.astimezone().isoformat(timespec="seconds"))
    if action not in ("advance", "promote"):
        verdict = replace(verdict, answer=decision.verdict.answer)
    return Decision(action=action, verdict=verdict, message=f"{action} by {who}: {why}")


def apply_decision(rollout: Rollout, decision: Decision, *, at: datetime) -> Rollout:
    """Return the rollout after a decision; unchanged if the decision is to stay."""
    stamp = at.astimezone().isoformat(timespec="milliseconds")
    if decision.action == "stay":
        return rollout
    if decision.action == "advance":
        stage = rollout.stage + 1
        return replace(
            rollout, stage=stage, stage_at=stamp, requests=0, of_release=0, lost_rows=0, why=decision.message
        )
    return replace(rollout, status=_ENDS[decision.action], stage_at=stamp, why=decision.message)


def _require_decidable(rule: Rule) -> Rule:
    if (rule.at_most is None) == (rule.at_least is None):
        raise ConfigError(
            f"a rule has one limit, {rule.measure!r} has none or two", where=_WHERE, hint="at_most = 0.01"
        )
    if rule.measure not in MEASURES:
        raise ConfigError(
            f"{rule.measure!r} cannot be followed request by request",
            where=_WHERE,
            hint=f"one of {', '.join(MEASURES)}",
        )
    return rule


def _require_matching(rollout: Rollout, evidence: Evidence) -> None:
    if rollout.status != "running":
        raise Refused(f"the rollout of {rollout.name} has ended: {rollout.status}", hint="start a new rollout")
    wanted, met = (rollout.release, rollout.current.name), (evidence.subject, evidence.period)
    if wanted != met:
        raise Refused(f"evidence on {met[0]} at {met[1]} cannot move a rollout of {wanted[0]} at {wanted[1]}")


def _is_anytime_valid(measurement: Measurement, alpha: float) -> bool:
    return measurement.validity == "anytime" and measurement.level >= 1 - alpha - ALPHA - _TOLERANCE


def _action(rollout: Rollout, verdict: Verdict) -> Action:
    if verdict.answer == "fail":
        return "roll back"
    if verdict.answer == "pass" and rollout.of_release >= rollout.current.min_requests:
        return next_step(rollout)
    began, now = (datetime.fromisoformat(time).astimezone() for time in (rollout.stage_at, verdict.at))
    return "stop" if (now - began).total_seconds() >= rollout.current.at_most_s else "stay"


def _with_message(rule_result: RuleResult) -> RuleResult:
    return (
        replace(rule_result, message=rule_message(rule_result, rule_result.measurement))
        if rule_result.measurement
        else rule_result
    )


# Unit that is counted, and the event whose share is reported.
SHARES = {
    "decision_churn": ("paired answers", "decisions flipped"),
    "error_rate": ("requests", "failed"),
    "slow_requests": ("requests", "were slower than the objective"),
    "slower_than_live": ("paired answers", f"took more than {MAX_LATENCY_RATIO:g} times as long as live's"),
}
LOSSES = {
    "error_rate.drop": "the share of failed requests",
    "slow_requests.drop": "the share of requests slower than the objective",
}


def rule_message(rule_result: RuleResult, measurement: Measurement) -> str:
    """Describe the result of a rule on its measurement.

    Such as `of 412 paired answers on 96 keys, one per key, 23 decisions flipped (24 %, at least 12.1 % at any
    time), limit 5 %`.
    """
    rule = rule_result.rule
    limit = rule.at_most if rule.at_most is not None else rule.at_least
    return (
        f"{_measured_message(measurement, _bound(rule_result, measurement))}, limit "
        f"{_format_value(rule.measure, limit or 0.0)}{_needed_message(rule_result)}"
    )


def _needed_message(rule_result: RuleResult) -> str:
    """Describe how many more requests would decide an undecided rule; empty for another."""
    if rule_result.answer != "undecided":
        return ""
    needed = rows_needed(rule_result)
    if needed is None:
        return f"; more than {MAX_GROUPS_RATIO} times as many requests are needed"
    return f"; about {needed:,} more requests like these would decide"


def decision_message(action: Action, rollout: Rollout, verdict: Verdict, unknown: Sequence[str]) -> str:
    """Describe the action and its reason in one sentence; `unknown` are the measures without data yet."""
    lost = f"; the log lost {rollout.lost_rows:,} rows, and that time is not judged" if rollout.lost_rows else ""
    return f"{_action_message(action, rollout)}: {_reasons(rollout, verdict, unknown)}{lost}"


def describe_rollout_traffic(traffic: RolloutTraffic | None) -> str:
    """Describe in a clause what the release of a rollout answered; None if the log cannot be read."""
    if traffic is None:
        return "the log of what it answered cannot be read"
    if not traffic.answered and not traffic.logged_only:
        return "no request to it is in the log"
    about = "about " if traffic.is_sampled else ""
    shadow = f"ran on {about}{traffic.logged_only:,} requests for the log only"
    if not traffic.answered:
        return f"it {shadow}, and no caller got its answer"
    answered = f"callers got its answers to {about}{traffic.answered:,} requests"
    return f"{answered}, and it {shadow}" if traffic.logged_only else answered


def _reasons(rollout: Rollout, verdict: Verdict, unknown: Sequence[str]) -> str:
    if verdict.answer == "pass":
        without = f", {' and '.join(unknown)} not known yet" if unknown else ""
        count = len(verdict.rule_results)
        met = f"all {count} rules are met{without}" if count > 1 else f"its one rule is met{without}"
        minimum = rollout.current.min_requests
        few = f", and it has answered {rollout.of_release:,} of at least {minimum:,} requests"
        return met + (few if rollout.of_release < minimum else "")
    if verdict.rule_results and all(rule_result.measurement is None for rule_result in verdict.rule_results):
        return f"no request{' with a key' if rollout.share else ''} has reached it yet"
    return (
        "; ".join(rule_result.message for rule_result in verdict.rule_results if rule_result.answer == verdict.answer)
        or verdict.why
    )


def _action_message(action: Action, rollout: Rollout) -> str:
    name = rollout.current.name
    if action == "advance":
        return f"{name} goes on to {rollout.plan.stages[rollout.stage + 1].name}"
    if action == "stop":
        return f"{name} ends inconclusive after {rollout.current.at_most_s:,.0f} s"
    return {"promote": f"{name} goes live", "roll back": f"{name} is rolled back"}.get(action, f"{name} stays")


def _measured_message(measurement: Measurement, bound: str) -> str:
    name, value = measurement.name, _format_value(measurement.name, measurement.value)
    keys = f"on {measurement.n_groups:,} keys"
    if name in SHARES:
        what, happened = SHARES[name]
        count = round(measurement.value * measurement.n_groups)
        window = f"in {measurement.slice}, " if measurement.slice else ""
        return f"{window}of {measurement.n_rows:,} {what} {keys}, one per key, {count:,} {happened} ({value}, {bound})"
    requests = f"in {measurement.slice} {keys}" if measurement.slice else f"over {measurement.n_rows:,} requests {keys}"
    if name.endswith(".drop"):
        subject = LOSSES.get(name, name.removesuffix(".drop"))
        return f"{requests}, {subject} differs from live's by {value} ({bound})"
    return f"{requests}, {name} is {value} ({bound})"


def _bound(rule_result: RuleResult, measurement: Measurement) -> str:
    """Return the bound that decided, or both if undecided."""
    low, high = (_format_value(measurement.name, end) for end in (measurement.low, measurement.high))
    if rule_result.answer == "undecided":
        return f"from {low} to {high} at any time"
    upper = (rule_result.answer == "pass") == (rule_result.rule.at_most is not None)
    return f"at most {high} at any time" if upper else f"at least {low} at any time"


def _format_value(name: str, value: float) -> str:
    if name in SHARES:
        return f"{value * 100:.3g} %"
    if name in LOSSES:
        return f"{value * 100:+.3g} points"
    return f"{value:+.3g}" if name.endswith(".drop") else f"{value:.3g}"


DECISION, LATENCY = "decision", "latency_us"
LOSS = ".drop"
# 0 or 1 for each answer that a caller got; in a canary stage they compare callers, since callers do not wait for a
# paired answer.
PER_REQUEST = ("error_rate", "slow_requests")
MEASURES = (CHURN, SLOWER.measure, *(name + end for name in (*PER_REQUEST, "brier") for end in ("", LOSS)))
_OF_PAIRS = {CHURN: DECISION, SLOWER.measure: LATENCY}
"""Shares of the pairs of answers to one request, and the values of both arms that each compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests in the order of their answers, oldest first.

    Attributes
    ----------
    keys : ndarray of shape (n,)
        Hashes of the keys.
    canary : ndarray of shape (n,)
        True if the key is assigned to the release.
    known : mapping of str to ndarray of shape (n, 2)
        By measure the value of live and of the release, NaN if that arm did not answer or it is unknown: `error_rate`
        and `slow_requests` (0 or 1), `decision` (any number), `latency_us` of an answer without an error, and losses of
        labeled rows in [0, 1] such as `brier`.
        Labels that arrive later are traffic of their own, with only the losses.
    """

    keys: Keys
    canary: Bools
    known: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTracker:
    """A sequential track for each measure; `share` of the keys are the release's, 0 for a shadow."""

    share: float
    tracks: Mapping[str, ConfidenceSequence]


def start_tracking(measures: Sequence[str], *, share: float, alpha: float) -> StageTracker:
    """Start tracking a stage before its first request; `alpha` is the false-alarm rate of each measure.

    `NAME` is the release's mean, `NAME.drop` the difference to live, `decision_churn` the share on which both differ,
    and `slower_than_live` the share that took the release more than `MAX_LATENCY_RATIO` times as long.
    """
    return StageTracker(
        share=share, tracks={name: sequential.start_sequence(_form(name, share), alpha=alpha) for name in measures}
    )


def update_tracking(watch: StageTracker, traffic: Traffic) -> StageTracker:
    """Return the trackers after more traffic; raises DataError for a value out of range."""
    return StageTracker(
        share=watch.share,
        tracks={
            name: sequential.update_sequence(track, select_observations(name, watch.share, traffic))
            for name, track in watch.tracks.items()
        },
    )


def measure_stage(watch: StageTracker) -> tuple[Measurement, ...]:
    """Return one measurement for each measure with data, and the window that shows more harm than it, if there is one.

    The window is a slice of the measure: it may show harm, and never that a rule is met.
    """
    measured = [
        measure(track, name)
        for name, track in watch.tracks.items()
        for measure in (sequential.measure_sequence, sequential.measure_worst_window)
    ]
    return tuple(measurement for measurement in measured if measurement is not None)


def _form(name: str, share: float) -> ValueGrid:
    base = name.removesuffix(LOSS)
    if name in _OF_PAIRS:
        return PROPORTION
    if name == base:
        return PROPORTION if base in PER_REQUEST else UNIT_LOSS
    if base in PER_REQUEST:
        return unpaired_difference(share) if share else PAIRED_PROPORTION
    return PAIRED_LOSS


def select_observations(name: str, share: float, traffic: Traffic) -> Observations:
    """Return the requests that have a value of a measure."""
    base = name.removesuffix(LOSS)
    pair = traffic.known.get(_OF_PAIRS.get(name, base), np.full((len(traffic.keys), 2), np.nan))
    live, release = pair[:, 0], pair[:, 1]
    if name in _OF_PAIRS:
        happened = live != release if name == CHURN else release > MAX_LATENCY_RATIO * live
        values = np.where(np.isnan(live + release), np.nan, happened)
    elif name == base:
        values = release
    elif base in PER_REQUEST and share:
        values = np.where(traffic.canary, release, live)
    else:
        values = release - live
    known = ~np.isnan(values)
    return Observations(keys=traffic.keys[known], values=values[known], canary=traffic.canary[known])
