"""A canary evaluated continuously: how often a sound release is rolled back, and how soon a harmful one.

Every request is an evaluation. `loop.py` prints the rows.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from harness import Row
from headway.core.arrays import Bools, Floats
from headway.core.evidence import Machine
from headway.core.rollout import Plan, Rollout, RolloutStage
from headway.core.verdict import Rule
from headway.evaluation.statistics import sequential
from headway.evaluation.statistics.sequential import (
    ConfidenceSequence,
    Observations,
    bet_returns,
    encode_values,
    log_wealth,
)
from headway.registry import rollout as rollouts
from headway.registry.rollout import ERRORS, SLOW, SLOWER, Traffic, decide_rollout, stage_evidence, start_stage_tracking
from monitoring import canary_worlds
from monitoring.canary_flights import Live, live
from monitoring.canary_flights import traffic as of_flights
from monitoring.canary_worlds import ALIKE, AT_LIMIT, BETTER, HARM, World, joined, part, traffic

RUNS, REQUESTS = 2000, 20_000
HARM_RUNS, HARM_REQUESTS = 500, 12_000
LATE_RUNS, LATE = 200, 12_500
BETTER_RUNS, FIXED_REQUESTS, FIXED_SIZES = 400, 200_000, 3.0
CONFIRMED = 20
PEEK = 200
STARTS, FLIGHTS = 1000, 30_000
SHARE = 0.1
FLIPS = Rule(measure="decision_churn", at_most=0.05)
BRIER = Rule(measure="brier.drop", at_most=0.005)
ONE = Plan(stages=(RolloutStage(share=SHARE),))
WHOLE = Plan()
FIRST_CANARY = 1
TINY = {
    "RUNS": 2,
    "REQUESTS": 2_000,
    "HARM_RUNS": 2,
    "HARM_REQUESTS": 2_000,
    "LATE_RUNS": 2,
    "LATE": 500,
    "CONFIRMED": 1,
    "BETTER_RUNS": 2,
    "FIXED_REQUESTS": 2_000,
    "FIXED_SIZES": 0.02,
    "STARTS": 2,
    "FLIGHTS": 2_000,
}


def rows() -> list[Row]:
    """All rows on harm and false rollbacks."""
    return [*_simulated(), *_on_flights(live())]


def passing_rows() -> list[Row]:
    """Rows on better releases that go live, and on one that is withdrawn for its slowness."""
    return [*_goes_live(), _slowness()]


def rollout(plan: Plan, stage: int = 0) -> Rollout:
    """Return a rollout by the default rules, without `[[policy.canary]]`."""
    rules = (ERRORS, SLOW, SLOWER, FLIPS)
    return Rollout(
        name="bench",
        release="r",
        live="l",
        salt="",
        rules=rules,
        delayed_rules=(BRIER,),
        plan=plan,
        stage=stage,
        stage_at=datetime.now(UTC).isoformat(),
    )


def harmed_at(followed: Rollout, seen: Traffic, labelled_at: Floats | None = None) -> int:
    """Return the number of requests when a rule first failed, -1 if none did.

    `labelled_at` [n] is the request at which the label of each arrives; None if labels arrive at once.
    """
    tracks = start_stage_tracking(followed).tracks
    numbered = Traffic(keys=np.arange(len(seen.keys), dtype=np.uint64), canary=seen.canary, known=seen.known)
    found = []
    for rule in (*followed.rules, *followed.delayed_rules):
        observations = rollouts.select_observations(rule.measure, followed.share, seen)
        if not observations.values.any():
            continue
        came = rollouts.select_observations(rule.measure, followed.share, numbered).keys.astype(np.int64)
        if rule in followed.delayed_rules and labelled_at is not None:
            came = labelled_at[came]
        first = crossing(tracks[rule.measure], observations, rule.at_most or 0.0)
        found += [int(came[first]) + 1] if first >= 0 and came[first] < len(seen.keys) else []
    return min(found, default=-1)


def crossing(track: ConfidenceSequence, seen: Observations, limit: float) -> int:
    """Return the first observation at which the lower bound of the track exceeds the limit, -1 if there is none.

    It follows the track's own bets over all requests at once; `confirmed` compares it with the product.
    """
    lowest = float(track.form.points.min())
    logs = np.log(bet_returns(track.form.points - lowest, limit + track.form.rounding - lowest))
    increments = logs[encode_values(track.form, seen)]
    length, count = sequential.recent_length(track.form), len(seen.keys)
    spans = [(0, count, sequential.long_alpha_share(1))]
    spans += [(at, at + length, sequential.recent_alpha_share(at // length + 1)) for at in range(length, count, length)]
    found = []
    for start, stop, share in spans:
        fresh = start + np.sort(np.unique(seen.keys[start:stop], return_index=True)[1])
        refuted = log_wealth(np.cumsum(increments[fresh], axis=0)) > -math.log(track.alpha * share)
        found += [int(fresh[np.argmax(refuted)])] if refuted.any() else []
    return min(found, default=-1)


def passed_at(followed: Rollout, seen: Traffic) -> int:
    """Return the number of requests when all rules were first met at once, -1 if they never were; labels come at once.

    As `crossing`, but by the long stream alone, against "the mean is at least the limit".
    """
    tracks, met = start_stage_tracking(followed).tracks, np.ones(len(seen.keys), dtype=np.bool_)
    numbered = Traffic(keys=np.arange(len(seen.keys), dtype=np.uint64), canary=seen.canary, known=seen.known)
    for rule in (*followed.rules, *followed.delayed_rules):
        track, observations = (
            tracks[rule.measure],
            rollouts.select_observations(rule.measure, followed.share, seen),
        )
        came = rollouts.select_observations(rule.measure, followed.share, numbered).keys.astype(np.int64)
        highest = float(track.form.points.max())
        returns = bet_returns(highest - track.form.points, highest - (rule.at_most or 0.0) + track.form.rounding)
        first = np.sort(np.unique(observations.keys, return_index=True)[1])
        wealth = log_wealth(np.cumsum(np.log(returns)[encode_values(track.form, observations)[first]], axis=0))
        met &= _latest(wealth > -math.log(track.beta * sequential.long_beta_share(1)), came[first], len(met))
    return int(np.argmax(met)) + 1 if met.any() else -1


def _latest(values: Bools, at: NDArray[np.int64], count: int) -> Bools:
    """Return at each of `count` requests the latest of the values that were known by then; False before the first."""
    index = np.searchsorted(at, np.arange(count), side="right") - 1
    return np.asarray((index >= 0) & values[index])


def confirmed(followed: Rollout, seen: Traffic, at: int) -> bool:
    """Return whether the product, fed in pieces, fails a rule at this request and none at the request before."""
    watched = rollouts.update_tracking(start_stage_tracking(followed), part(seen, 0, at // 2))
    before = rollouts.update_tracking(watched, part(seen, at // 2, at - 1))
    return not _fails(followed, before) and _fails(followed, rollouts.update_tracking(before, part(seen, at - 1, at)))


def at_most(count: int, of: int) -> float:
    """Return the upper 95 % bound of a share observed `count` times (Clopper and Pearson 1934)."""
    low, high = count / of, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(count, of, middle) > 0.05 else (low, middle)
    return high


def _chance(count: int, of: int, share: float) -> float:
    """Return the probability of at most `count` successes of a binomial."""
    logs = [
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        + k * math.log(share) + (of - k) * math.log1p(-share)
        for k in range(count + 1)
    ]  # fmt: skip
    return sum(map(math.exp, logs))


def _fails(followed: Rollout, watched: rollouts.StageTracker) -> bool:
    limits = {rule.measure: rule.at_most or 0.0 for rule in (*followed.rules, *followed.delayed_rules)}
    return any(measurement.low > limits[measurement.name] for measurement in rollouts.measure_stage(watched))


def _simulated() -> list[Row]:
    (equal, peeked), (edge, _) = (_rolled_back(world, seed) for seed, world in enumerate((ALIKE, AT_LIMIT)))
    message = f"{RUNS:,} runs of {REQUESTS:,} requests, {SHARE:.0%} canary"
    peeking = f"a z-test of errors every {PEEK} requests rolls back {peeked / RUNS:.3f}"
    return [
        _bound("canary.false_rollback", equal, RUNS, f"{equal} of {message}; {peeking}"),
        _bound("canary.false_rollback[at every limit]", edge, RUNS, f"{edge} of {message}"),
        *_harm(),
        _late_harm(),
    ]


def _rolled_back(world: World, seed: int) -> tuple[int, int]:
    """In how many runs a rollout of one stage takes the release back, and in how many a z-test at each look would."""
    rng, followed = np.random.default_rng(seed), rollout(ONE)
    ours = theirs = 0
    for _ in range(RUNS):
        seen = traffic(world, rng, share=SHARE, count=REQUESTS)
        ours += harmed_at(followed, seen) >= 0
        theirs += _peeked(seen)
    return ours, theirs


def _peeked(seen: Traffic) -> bool:
    """Return whether a one-sided z-test at 5 % of the release's errors against live's finds harm at some evaluation."""
    errors = rollouts.select_observations(ERRORS.measure, SHARE, seen).values
    evaluations = slice(PEEK - 1, None, PEEK)
    requests, failed = (
        [np.cumsum(values * arm)[evaluations] for arm in (seen.canary, ~seen.canary)] for values in (1, errors)
    )
    rate = (failed[0] + failed[1]) / (requests[0] + requests[1])
    error = np.sqrt(np.maximum(rate * (1 - rate), 1e-9) * (1 / requests[0] + 1 / requests[1]))
    return bool((failed[0] / requests[0] - failed[1] / requests[1] > 1.645 * error).any())


def _harm() -> list[Row]:
    """Return the canary requests until harm is found: in the plan's first canary stage, and with one stage of 10 %."""
    found = []
    for name, followed in (("", rollout(WHOLE, FIRST_CANARY)), ("[10 % share]", rollout(ONE))):
        rng, needed, agree = np.random.default_rng(10), np.full(HARM_RUNS, np.inf), 0
        for run in range(HARM_RUNS):
            seen = traffic(HARM, rng, share=followed.share, count=HARM_REQUESTS)
            end = harmed_at(followed, seen)
            if end >= 0:
                needed[run] = seen.canary[:end].sum()
                agree += run < CONFIRMED and confirmed(followed, seen, end)
        message = f"p90 {np.quantile(needed, 0.9):.0f}, {np.isfinite(needed).sum()} of {HARM_RUNS} found"
        found.append(_requests(f"canary.harm_requests{name}", needed, 120, message))
        found.append(_count(f"canary.harm_requests{name}.as_product", agree, CONFIRMED))
    return found


def _late_harm() -> Row:
    """Return the same after 12,500 sound requests, with keys of which most were counted before."""
    rng = np.random.default_rng(11)
    followed = rollout(ONE)
    needed = []
    for _ in range(LATE_RUNS):
        seed = int(rng.integers(1 << 62))
        sound, harm = (
            traffic(World(failing=failing, swing=0.0), np.random.default_rng(seed), share=SHARE, count=LATE + REQUESTS)
            for failing in (ALIKE.failing, HARM.failing)
        )
        seen = joined(part(sound, 0, LATE), part(harm, LATE, LATE + REQUESTS))
        end = harmed_at(followed, seen)
        needed.append(seen.canary[LATE:end].sum() if end >= 0 else np.inf)
    message = f"begins after {LATE:,} requests, keys come again; {np.isfinite(needed).sum()} of {LATE_RUNS} found"
    return _requests("canary.harm_requests[late]", np.array(needed), 1000, message)


def _slowness() -> Row:
    """Return the canary requests until a model of 25 times the CPU is withdrawn, and for its slowness alone."""
    rng, followed, needed, named = np.random.default_rng(13), rollout(ONE), np.full(HARM_RUNS, np.inf), 0
    for run in range(HARM_RUNS):
        seen = traffic(canary_worlds.SLOWER, rng, share=SHARE, count=HARM_REQUESTS)
        end = harmed_at(followed, seen)
        if end >= 0:
            needed[run] = seen.canary[:end].sum()
            named += harmed_at(replace(followed, rules=(SLOWER,), delayed_rules=()), seen) <= end
    message = f"p90 {np.quantile(needed, 0.9):.0f}, {named} of {HARM_RUNS} by {SLOWER.measure}"
    return _requests("canary.slower_requests", needed, 120, message)


def _goes_live() -> list[Row]:
    """Return how often a release that is better by half of each limit goes live in time, and how often withdrawn.

    In time is `FIXED_SIZES` times the requests with which one planned test a rule, at 5 %, passes in 95 % of the runs.
    """
    rng, followed = np.random.default_rng(14), rollout(ONE)
    fixed = fixed_size(followed, traffic(BETTER, rng, share=SHARE, count=FIXED_REQUESTS))
    ends, withdrawn, agree, confirmed_runs = np.full(BETTER_RUNS, np.inf), 0, 0, 0
    for run in range(BETTER_RUNS):
        seen = traffic(BETTER, rng, share=SHARE, count=math.ceil(FIXED_SIZES * fixed))
        passed, harmed = passed_at(followed, seen), harmed_at(followed, seen)
        if harmed >= 0 and not 0 <= passed < harmed:
            withdrawn += 1
        elif passed >= 0:
            ends[run] = passed
            confirmed_runs += run < CONFIRMED
            agree += run < CONFIRMED and goes_live_at(followed, seen, passed)
    live = int(np.isfinite(ends).sum())
    against = f"{live} of {BETTER_RUNS} runs; fixed-sample size {fixed:,} requests, median {np.median(ends):,.0f}"
    share = live / BETTER_RUNS
    return [
        Row(
            name="canary.goes_live",
            measured=share,
            unit="share",
            target="at least 0.95",
            ok=share >= 0.95,
            against=against,
        ),
        _count("canary.goes_live.as_product", agree, confirmed_runs),
        _bound("canary.goes_live.withdrawn", withdrawn, BETTER_RUNS, f"{withdrawn} of {BETTER_RUNS} runs"),
    ]


def fixed_size(followed: Rollout, seen: Traffic) -> int:
    """Return the requests with which one planned test of each rule, at 5 %, passes in 95 % of the runs of `BETTER`."""
    tracks, sizes = start_stage_tracking(followed).tracks, []
    for rule in (*followed.rules, *followed.delayed_rules):
        observations = rollouts.select_observations(rule.measure, followed.share, seen)
        form = tracks[rule.measure].form
        limit = rule.at_most or 0.0
        gap = limit * (1.5 if rule.measure.endswith(".drop") else 0.5)
        needed = (2 * 1.645 * form.points[encode_values(form, observations)].std() / gap) ** 2
        sizes.append(needed * len(seen.keys) / len(observations.keys))
    return math.ceil(max(sizes))


def goes_live_at(followed: Rollout, seen: Traffic, at: int) -> bool:
    """Return whether the product, fed in pieces, passes all rules at this request and not at the request before."""
    before = rollouts.update_tracking(start_stage_tracking(followed), part(seen, 0, at - 1))
    return not _passes(followed, before) and _passes(followed, rollouts.update_tracking(before, part(seen, at - 1, at)))


def _passes(followed: Rollout, watched: rollouts.StageTracker) -> bool:
    machine = Machine(cpu="", cores=1, system="", python="")
    evidence = stage_evidence(followed, rollouts.measure_stage(watched), machine=machine, at=datetime.now(UTC))
    return decide_rollout(followed, evidence).action == "promote"


def _on_flights(data: Live) -> list[Row]:
    own = [str(number) for number in range(len(data.live))]
    starts = np.random.default_rng(12).integers(0, len(own) - FLIGHTS, STARTS)

    def ends(release: Floats, keys: list[str]) -> Floats:
        return np.array([_flown(data, release, slice(int(at), int(at) + FLIGHTS), keys) for at in starts])

    broken, sound, planes = ends(data.broken, own), ends(data.sound, own), ends(data.sound, data.planes)
    message = f"of {STARTS} starts, {FLIGHTS:,} flights each, {SHARE:.0%} canary"
    spread = f"p90 {np.quantile(broken, 0.9):.0f}, {np.isfinite(broken).sum()} {message} found"
    rows = [_requests("canary.flights.utc_requests", broken, 60, spread)]
    for name, found in (("", sound), ("[keys are planes]", planes)):
        back = int(np.isfinite(found).sum())
        rows.append(_bound(f"canary.flights.false_rollback{name}", back, STARTS, f"{back} {message}"))
    return rows


def _flown(data: Live, release: Floats, rows: slice, keys: list[str]) -> float:
    """Return the canary requests until a release is rolled back, infinite if it is not."""
    seen, labelled_at = of_flights(data, release, rows, share=SHARE, keys=keys[rows])
    end = harmed_at(rollout(ONE), seen, labelled_at)
    return float(seen.canary[:end].sum()) if end >= 0 else math.inf


def _bound(name: str, count: int, of: int, against: str) -> Row:
    bound = at_most(count, of)
    return Row(name=name, measured=bound, unit="share", target="at most 0.05", ok=bound <= 0.05, against=against)


def _requests(name: str, needed: Floats, target: int, against: str) -> Row:
    median = float(np.median(needed))
    return Row(
        name=name,
        measured=median,
        unit="canary requests",
        target=f"at most {target}",
        ok=median <= target,
        against=against,
    )


def _count(name: str, count: int, of: int) -> Row:
    return Row(name=name, measured=count, unit="runs", target=f"{of} of {of}", ok=count == of)
