"""What a rollout says: each ruling, and what was done, in sentences that a person who cannot code understands."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Measurement
from headway.core.rollout import Action, Rollout
from headway.core.verdict import Ruling, Verdict

# What is counted, out of what, and what a share of it is called.
SHARES = {
    "decision_churn": ("paired answers", "decisions flipped"),
    "error_rate": ("requests", "failed"),
    "slow_requests": ("requests", "were slower than the objective"),
}
LOSSES = {
    "error_rate.drop": "the share of failed requests",
    "slow_requests.drop": "the share of requests slower than the objective",
}


def sentence(ruling: Ruling, measurement: Measurement) -> str:
    """The sentence of a ruling on its measurement.

    Such as `of 412 paired answers on 96 keys, counted once a key, 23 decisions flipped (24 %, at least 12.1 % at any
    look), limit 5 %`.
    """
    rule = ruling.rule
    limit = rule.at_most if rule.at_most is not None else rule.at_least
    tail = "; more requests will tell" if ruling.answer == "undecided" else ""
    return f"{_seen(measurement, _bound(ruling, measurement))}, limit {_number(rule.measure, limit or 0.0)}{tail}"


def summary(action: Action, rollout: Rollout, verdict: Verdict, unknown: Sequence[str]) -> str:
    """What is done and why, in one sentence; `unknown` are the measures that nobody could measure yet."""
    return f"{_done(action, rollout)}: {_reasons(rollout, verdict, unknown)}"


def _reasons(rollout: Rollout, verdict: Verdict, unknown: Sequence[str]) -> str:
    if verdict.answer == "pass":
        without = f", {' and '.join(unknown)} not known yet" if unknown else ""
        count = len(verdict.rulings)
        met = f"all {count} rules are met{without}" if count > 1 else f"its one rule is met{without}"
        least = rollout.current.min_requests
        few = f", and it has answered {rollout.of_release:,} of at least {least:,} requests"
        return met + (few if rollout.of_release < least else "")
    if verdict.rulings and all(ruling.measurement is None for ruling in verdict.rulings):
        return f"no request{' with a key' if rollout.share else ''} has come to it yet"
    return "; ".join(ruling.message for ruling in verdict.rulings if ruling.answer == verdict.answer) or verdict.why


def _done(action: Action, rollout: Rollout) -> str:
    name = rollout.current.name
    if action == "advance":
        return f"{name} goes on to {rollout.plan.stages[rollout.stage + 1].name}"
    if action == "stop":
        return f"{name} ends inconclusive after {rollout.current.at_most_s:,.0f} s"
    return {"promote": f"{name} goes live", "roll back": f"{name} is taken back"}.get(action, f"{name} stays")


def _seen(measurement: Measurement, bound: str) -> str:
    name, value = measurement.name, _number(measurement.name, measurement.value)
    keys = f"on {measurement.n_groups:,} keys"
    if name in SHARES:
        what, happened = SHARES[name]
        count = round(measurement.value * measurement.n_groups)
        return f"of {measurement.n_rows:,} {what} {keys}, counted once a key, {count:,} {happened} ({value}, {bound})"
    requests = f"over {measurement.n_rows:,} requests {keys}"
    if name.endswith(".drop"):
        subject = LOSSES.get(name, name.removesuffix(".drop"))
        return f"{requests}, {subject} differs from live's by {value} ({bound})"
    return f"{requests}, {name} is {value} ({bound})"


def _bound(ruling: Ruling, measurement: Measurement) -> str:
    """The bound by which the answer was given, or both where none was."""
    low, high = (_number(measurement.name, each) for each in (measurement.low, measurement.high))
    if ruling.answer == "undecided":
        return f"from {low} to {high} at any look"
    upper = (ruling.answer == "pass") == (ruling.rule.at_most is not None)
    return f"at most {high} at any look" if upper else f"at least {low} at any look"


def _number(name: str, value: float) -> str:
    if name in SHARES:
        return f"{value * 100:.3g} %"
    if name in LOSSES:
        return f"{value * 100:+.3g} points"
    return f"{value:+.3g}" if name.endswith(".drop") else f"{value:.3g}"
