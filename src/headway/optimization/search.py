"""Search over combinations of transforms: generate candidates, rank them by speed, explain why each other one lost.

V001: A transform failed on a variant (warn), or does not apply to it (note).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from headway.core import plugins
from headway.core.errors import ConfigError, EngineError, HeadwayError, NotApplicable, PluginError, StoreError
from headway.core.evidence import Finding, Measurement
from headway.core.record import Record
from headway.core.search_result import BUDGET_FACTOR, TRANSFORM_SHARE, SearchResult
from headway.core.variant import Variant
from headway.core.verdict import EvaluatedVariant, RuleResult, Verdict
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.screening import (
    EVALUATION,
    LEFT_OUT,
    SCREENING,
    TimeBudget,
    answer_changing_steps,
    comes_first,
    cost_lower_bound,
    describe_error,
    is_compiled,
    is_shown_faster,
    keeps_answers,
    objective_cost,
    ordering_measure,
    screened_out,
)

Feasible = Callable[[Verdict], bool]

CODE, ONE_ROW = "V001", "latency.one_row"
WITHOUT, DEFER = "without", "defer"
"""The transforms that are applied if features are named for them; `without` is then the only one on the baseline."""
STAGES = ("train", "truncate", "restructure", "export", "lower", "other", "runtime", "execution")
"""Order in which the search applies transforms, each of which declares its STAGE; "other" is the default."""
_NEAR = 1.25  # times the cost of the best variant
_ANSWER_PHRASES = {"fail": "fails", "undecided": "undecided"}
Outcome = Literal["tied", "not shown", "not on test", "slower", "less preferred"]
_COMPARISON_PHRASES: dict[Outcome, str] = {
    "tied": "as fast as the winner within the intervals, and further from the baseline",
    "not shown": "not shown to be faster than the baseline: the interval of its speedup includes 1",
    "not on test": "better on validation, but not feasible on test",
    "slower": "within the limits, but slower than the winner",
    "less preferred": "faster, but the answers of the winner say less, or it saves look-ups",
}


class Candidates(Record, frozen=True, kw_only=True):
    """Candidates of a search, the baseline first, and a finding for each transform that failed or gave none."""

    variants: tuple[Variant, ...]
    refusals: tuple[Finding, ...] = ()


def generate_candidates(model: Variant, context: TransformContext, transforms: Sequence[str] = ()) -> Candidates:
    """Apply every combination of transforms to a model, without a limit of time; see `CandidateGenerator`."""
    generator = CandidateGenerator(model, context, transforms)
    for _ in generator.batches():
        pass
    return Candidates(variants=generator.variants, refusals=generator.refusals)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTime:
    """How long the baseline takes to open, to answer one row, and for each further row of a call, in seconds."""

    open_s: float = 0.0
    call_s: float = 0.0
    row_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Application:
    """A transform that is to be applied to a variant."""

    name: str
    index: int
    variant: Variant
    keeps_answers: bool


class CandidateGenerator:
    """Generate every combination of transforms of a model, promising and cheap ones first.

    Parameters
    ----------
    model
        Baseline variant.
    context
        Artifacts and data that transforms work with.
    transforms
        Names, applied in this order; by default all that are installed and take part, in the order of their stages.
    budget
        Time budget of the search. A transform is applied only if it is expected to end within half of what is left when
        its batch begins; what may compile the first form that keeps the answers has more on a busy machine.
    answers
        How long the baseline takes to answer, which predicts the duration of a transform that asks it.

    Raises
    ------
    PluginError
        If a name is not that of a transform.
    """

    def __init__(
        self,
        model: Variant,
        context: TransformContext,
        transforms: Sequence[str] = (),
        *,
        budget: TimeBudget | None = None,
        answers: AnswerTime = AnswerTime(),
    ) -> None:
        installed = [name for name in plugins.names("transform") if _takes_part(name, context)]
        self._names = list(transforms) or sort_transforms(installed)
        if context.without and WITHOUT not in self._names:
            self._names.insert(0, WITHOUT)
        if context.deferred and DEFER not in self._names:
            self._names.append(DEFER)
        self._context, self._budget = context, budget or TimeBudget(0)
        self._declared_s = {name: _declared_s(name, answers) for name in self._names}
        self._comes_last = {name: _stage(name) == STAGES[-1] for name in self._names}
        self._model, self._known = model, {model.digest: model}
        self._waiting = self._applications(model, 0)
        self._results: dict[str, list[Sequence[Variant] | Finding]] = {name: [] for name in self._names}

    def batches(self) -> Iterator[tuple[Variant, ...]]:
        """Yield the variants that answer as the model does, then all others; in each batch the cheapest come first."""
        for keeps in (True, False):
            yield tuple(self._batch(keeps=keeps))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants made so far, the baseline first."""
        return tuple(self._known.values())

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings so far: a failure is a `warn`; a transform that gave nothing, or was left out, is a `note`."""
        found: list[Finding] = []
        for results in self._results.values():
            findings = [result for result in results if isinstance(result, Finding)]
            found += _select_findings(findings, gave_nothing=len(findings) == len(results))
        return tuple(found)

    def _applications(self, variant: Variant, first: int) -> list[_Application]:
        keeps = not answer_changing_steps(variant)
        reduces = bool(self._context.without) and not variant.steps  # the baseline reads what is to be left out
        return [
            _Application(name=name, index=index, variant=variant, keeps_answers=keeps and keeps_answers(name))
            for index, name in enumerate(self._names[first:], first)
            if name == WITHOUT or not reduces
        ]

    def _batch(self, *, keeps: bool) -> Iterator[Variant]:
        until = 0.0
        if self._budget.budget_s:
            needed = self._budget.expected_s(SCREENING) + self._budget.expected_s(EVALUATION)
            until = max(self._budget.remaining_s * (1 - TRANSFORM_SHARE), needed)
        while ready := [item for item in self._waiting if item.keeps_answers or not keeps]:
            item = min(ready, key=self._order)
            self._waiting.remove(item)
            result = self._apply(item, until)
            self._results[item.name].append(result)
            for variant in () if isinstance(result, Finding) else result:
                if variant.digest not in self._known:
                    self._known[variant.digest] = variant
                    self._waiting += self._applications(variant, item.index + 1)
                    yield variant

    def _order(self, item: _Application) -> tuple[bool, bool, float, int]:
        """Order forms that keep the answers first, among them settings of a known one last, and then cheap ones."""
        return not item.keeps_answers, self._comes_last[item.name], self._expected_s(item), item.index

    def _apply(self, item: _Application, until: float) -> Sequence[Variant] | Finding:
        """Apply a transform if that is expected to leave `until` seconds of the budget."""
        remaining_s = self._budget.remaining_s - until
        if item.keeps_answers and not any(is_compiled(variant, self._model) for variant in self.variants):
            remaining_s = max(remaining_s, self._budget.first_form_s)
        if self._expected_s(item) > remaining_s:
            return _left_out(item, self._expected_s(item), max(remaining_s, 0.0), self._budget)
        with self._budget.timed(item.name):
            return apply_transform(item.name, item.variant, replace(self._context, limit_s=remaining_s))

    def _expected_s(self, item: _Application) -> float:
        """Return how long an application is expected to take: as the longest before it, else as its module declares."""
        return self._budget.expected_s(item.name, self._declared_s[item.name])


def _declared_s(name: str, answers: AnswerTime) -> float:
    """Return the seconds that a transform declares as COST; 0 if it declares none.

    It then starts whenever time is left, and its first duration predicts the others.
    """
    cost: Mapping[str, float] = plugins.declaration("transform", name, "COST", {})
    units = {"seconds": 1.0, "rows": answers.row_s, "calls": answers.call_s, "opens": answers.open_s}
    unknown = sorted(set(cost) - set(units))
    if unknown:
        raise PluginError(f"transform {name!r} declares COST in {unknown[0]!r}", hint=f"any of: {', '.join(units)}")
    return math.fsum(units[unit] * amount for unit, amount in cost.items())


def _select_findings(findings: Sequence[Finding], *, gave_nothing: bool) -> list[Finding]:
    """Select the failures, one of each message, and one note: not tried, or why the transform gave nothing."""
    failures = {finding.message: finding for finding in reversed(findings) if finding.severity != "note"}
    notes = [finding for finding in findings if finding.severity == "note"]
    not_tried = [finding for finding in notes if finding.code == LEFT_OUT]
    first = notes[:1] if gave_nothing and not failures else []
    return [*reversed(failures.values()), *(not_tried[:1] or first)]


def _takes_part(name: str, context: TransformContext) -> bool:
    """Return whether the context has the fields that a transform declares as REQUIRES."""
    return all(getattr(context, field) for field in plugins.declaration("transform", name, "REQUIRES", ()))


def sort_transforms(transforms: Sequence[str]) -> list[str]:
    """Sort transforms by the stage that each declares, then by name; an unknown one counts as "other".

    >>> sort_transforms(["threads", "onnx", "prune", "truncate"])
    ['truncate', 'prune', 'onnx', 'threads']
    """
    return sorted(transforms, key=lambda name: (STAGES.index(_stage(name)), name))


def _stage(name: str) -> str:
    stage = plugins.declaration("transform", name, "STAGE", "other") if name in plugins.names("transform") else "other"
    if stage not in STAGES:
        raise PluginError(f"transform {name!r} declares STAGE = {stage!r}", hint=f"one of: {', '.join(STAGES)}")
    return str(stage)


def rank_by_objective(
    evaluated: Sequence[EvaluatedVariant], objective: str, feasible: Feasible
) -> list[EvaluatedVariant]:
    """Rank the feasible variants that beat the baseline, best first, followed by the baseline.

    A variant beats it if the interval of its speedup is above 1, so that noise makes no winner; without a speedup, if
    its value is better.

    Among variants that the interval of the best cannot separate from it, one with the answers of the baseline comes
    first, then the one with the fewest steps. One that changes answers must be within a quarter of the best as well: on
    a busy machine intervals are so wide that they separate nothing. Variants that save look-ups, or whose answers say
    less, come first, and need not beat the baseline: the time of a model does not show what they are for.

    Rules on privacy come before all that, where they were judged: variants that meet them, then those for which they
    are undecided, not measured, and broken. A variant that stands worse than the baseline here is left out, and one
    that stands better need not be faster. Among variants that meet them, speed decides.

    Raises
    ------
    EngineError
        If the baseline is not among the evaluated variants.
    """
    baseline = next((row for row in evaluated if not row.variant.steps), None)
    if baseline is None:
        raise EngineError("the baseline is not among the evaluated variants", hint="evaluate it as well")
    others = [row for row in evaluated if row is not baseline and not screened_out(row)]
    objective = ordering_measure((baseline, *others), objective)
    limit = objective_cost(baseline, objective)
    baseline_rank = _privacy_rank(baseline)
    remaining = [
        row
        for row in others
        if feasible(row.verdict)
        and _privacy_rank(row) <= baseline_rank
        and (_beats(row, objective, limit) or _comes_first(row) or _privacy_rank(row) < baseline_rank)
    ]
    ordered: list[EvaluatedVariant] = []
    while remaining:
        best_rank = min(map(_privacy_rank, remaining))
        equal = [row for row in remaining if _privacy_rank(row) == best_rank]
        preferred = [row for row in equal if _comes_first(row)] or equal
        best = min(preferred, key=lambda row: objective_cost(row, objective))
        tied = [row for row in preferred if _is_tied(row, best, objective)]
        ordered.append(min(tied, key=lambda row: (*_distance(row.variant), objective_cost(row, objective))))
        remaining.remove(ordered[-1])
    return [*ordered, baseline]


def wins_by_speed(evaluated: Sequence[EvaluatedVariant], winner: Variant, objective: str) -> bool:
    """Return whether a winner is wanted for the speed of one row alone, so that one that is slower is of no use."""
    rows = {row.variant.digest: row for row in evaluated}
    row, baseline = rows[winner.digest], next(row for row in evaluated if not row.variant.steps)
    is_wanted = _comes_first(row) or _privacy_rank(row) < _privacy_rank(baseline)
    return bool(winner.steps) and objective == ONE_ROW and not is_wanted


def _beats(row: EvaluatedVariant, objective: str, limit: float) -> bool:
    is_shown = is_shown_faster(row, objective)
    return objective_cost(row, objective) < limit if is_shown is None else is_shown


def _is_tied(row: EvaluatedVariant, best: EvaluatedVariant, objective: str) -> bool:
    """Return whether intervals cannot separate a variant from the best.

    One that changes answers, or whose interval is not known, must be near the best as well.
    """
    cost, lowest = objective_cost(row, objective), objective_cost(best, objective)
    is_near = cost <= (lowest * _NEAR if lowest > 0 else lowest / _NEAR)
    lower = cost_lower_bound(row, objective)
    must_be_near = bool(answer_changing_steps(row.variant)) or math.isinf(lower)
    return lower <= lowest and (is_near or not must_be_near)


def _privacy_rank(row: EvaluatedVariant) -> int:
    """Return 0 if a variant meets every rule on privacy that was judged, else how far from it, up to 3.

    1 is an undecided rule, 2 one without a measurement, 3 one that fails.
    """
    results = [result for result in row.verdict.rule_results if result.rule.private]
    return max((_rank_of_rule(result) for result in results), default=0)


def _rank_of_rule(result: RuleResult) -> int:
    if result.answer == "undecided":
        return 2 if result.measurement is None else 1
    return 3 if result.answer == "fail" else 0


def _comes_first(row: EvaluatedVariant) -> bool:
    """Return whether a variant precedes faster ones: a defence does not where the rules that it is for are met."""
    are_met = any(result.rule.private for result in row.verdict.rule_results) and not _privacy_rank(row)
    return comes_first(row.variant, defences=not are_met)


def explain_losses(evaluated: Sequence[EvaluatedVariant], winner: Variant, objective: str) -> dict[str, str]:
    """Return one sentence for each variant but the winner, by name, on why it lost."""
    won = next(row for row in evaluated if row.variant.digest == winner.digest)
    return {row.variant.name: explain_loss(row, won, objective) for row in evaluated if row is not won}


def explain_loss(row: EvaluatedVariant, winner: EvaluatedVariant, objective: str) -> str:
    """Return why a variant lost: the rules it did not pass, relative or on privacy, or how the winner compares."""
    objective = ordering_measure((row, winner), objective)
    own, best = row.evidence.find(objective), winner.evidence.find(objective)
    reason = screened_out(row)
    if reason and own and best:
        return f"{reason}: {_format_measurement(own)} against {_format_measurement(best)}"
    if reason and own is None:
        return reason
    if unmet := _unmet_rules(row, winner):
        return "; ".join(
            f"{_ANSWER_PHRASES[rule_result.answer]}: {_format_rule_result(rule_result)}" for rule_result in unmet
        )
    if own is None or best is None:
        return f"{objective} was not measured, so nothing shows that it is better"
    comparison = _compare_with_winner(row, winner, objective)
    if comparison in ("tied", "not shown"):
        return f"{_COMPARISON_PHRASES[comparison]}: {_format_measurement(own)} against {_format_measurement(best)}"
    if comparison in ("not on test", "less preferred"):
        return _COMPARISON_PHRASES[comparison]
    return (
        f"{own.value / best.value:.2f} times the winner's {objective}: {_format_measurement(own)} against "
        f"{_format_measurement(best)}"
    )


class LossGroup(Record, frozen=True, kw_only=True):
    """Variants that lost for one reason, the fastest first."""

    reason: str
    names: tuple[str, ...]


def group_losses(result: SearchResult, objective: str) -> list[LossGroup]:
    """Return the variants of a search that were not chosen, grouped by the reason without figures, most first."""
    winner = result.row(result.winner.variant.digest) or result.winner
    groups: dict[str, list[str]] = {}
    rows = {row.variant.name: row for row in (*result.evaluated, *result.screened_out)}
    for row in sorted(rows.values(), key=lambda row: objective_cost(row, objective)):
        if row.variant.steps and row.variant.digest != winner.variant.digest:
            groups.setdefault(_loss_reason(row, winner, objective), []).append(row.variant.name)
    for name, reason in result.reasons.items():
        if name not in rows:  # its speed was not measured
            groups.setdefault(reason, []).append(name)
    found = (LossGroup(reason=reason, names=tuple(names)) for reason, names in groups.items())
    return sorted(found, key=lambda group: -len(group.names))


def _loss_reason(row: EvaluatedVariant, winner: EvaluatedVariant, objective: str) -> str:
    """Return why a variant lost, without its own figures."""
    if reason := screened_out(row):
        return reason
    unmet = sorted(_unmet_rules(row, winner), key=lambda rule_result: rule_result.answer != "fail")
    if unmet:
        return f"{_ANSWER_PHRASES[unmet[0].answer]}: {unmet[0].rule}"
    objective = ordering_measure((row, winner), objective)
    if not (row.evidence.find(objective) and winner.evidence.find(objective)):
        return f"{objective} was not measured"
    return _COMPARISON_PHRASES[_compare_with_winner(row, winner, objective)]


def _unmet_rules(row: EvaluatedVariant, winner: EvaluatedVariant) -> list[RuleResult]:
    """Return the relative rules that a variant does not pass, and those on privacy if the winner stands better."""
    is_less_private = _privacy_rank(row) > _privacy_rank(winner)
    return [
        result
        for result in row.verdict.rule_results
        if result.answer != "pass" and (result.rule.relative or (result.rule.private and is_less_private))
    ]


def _compare_with_winner(row: EvaluatedVariant, winner: EvaluatedVariant, objective: str) -> Outcome:
    near = min(row, winner, key=lambda candidate: objective_cost(candidate, objective))
    far = winner if near is row else row
    if _is_tied(far, near, objective) and len(row.variant.steps) > len(winner.variant.steps):
        return "tied"
    if near is not row:
        return "slower"
    if is_shown_faster(row, objective) is False:
        return "not shown"
    return "less preferred" if _comes_first(winner) and not _comes_first(row) else "not on test"


def _distance(variant: Variant) -> tuple[int, int]:
    """Return the numbers of answer-changing steps and of all steps: the distance from the baseline."""
    return len(answer_changing_steps(variant)), len(variant.steps)


def _left_out(item: _Application, expected_s: float, left_s: float, budget: TimeBudget) -> Finding:
    reason = (
        f"not tried, as it takes about {expected_s:.2g} s, and {left_s:.2g} s of {budget} were left for it"
        if expected_s
        else f"not tried, as no more of {budget} was left for it"
    )
    enough_s = math.ceil(budget.budget_s + max(expected_s - left_s, 0.0) / TRANSFORM_SHARE)
    hint = f"headway optimize --budget {max(BUDGET_FACTOR * budget.budget_s, enough_s):g}s"
    return _finding(
        item.name, reason, code=LEFT_OUT, where=item.variant.name, hint=hint, measured=expected_s, limit=left_s
    )


def apply_transform(name: str, variant: Variant, context: TransformContext) -> Sequence[Variant] | Finding:
    """Return the variants that a transform makes, or the finding that explains why it makes none."""
    try:
        return load_transform(name)(variant, context.for_variant(variant))
    except NotApplicable as reason:
        return _finding(name, reason.what, where=variant.name, hint=reason.hint)
    except (ConfigError, StoreError):
        raise
    except Exception as error:
        if name not in plugins.names("transform"):
            raise
        message, where = describe_error(error)
        hint = error.hint if isinstance(error, HeadwayError) else f"leave {name} out: [optimize] transforms"
        where = ", ".join(filter(None, (variant.name, where)))
        return _finding(name, message, severity="warn", where=where, hint=hint)


def _finding(
    name: str,
    reason: str,
    *,
    where: str,
    hint: str,
    code: str = CODE,
    severity: Literal["warn", "note"] = "note",
    measured: float | None = None,
    limit: float | None = None,
) -> Finding:
    message = f"{name}: {reason}"
    return Finding(
        code=code,
        severity=severity,
        message=message,
        where=where,
        hint=hint,
        plugin=name,
        reason=reason,
        measured=measured,
        limit=limit,
    )


def _format_rule_result(rule_result: RuleResult) -> str:
    """Format a rule result: `decision_churn 0.068 [0.058, 0.078], at most 0.05 is allowed`."""
    measurement = rule_result.measurement
    if measurement is None:
        return rule_result.message
    if rule_result.answer == "undecided" and isinstance(measurement.effective_rows, float):
        return rule_result.message  # it says how many rows would decide
    name = " ".join(filter(None, (measurement.name, measurement.slice)))
    _, _, limit = str(rule_result.rule).partition(" ")
    return f"{name} {measurement.value:.2g} [{measurement.low:.2g}, {measurement.high:.2g}], {limit} is allowed"


def _format_measurement(measurement: Measurement) -> str:
    digits = ",.0f" if abs(measurement.value) >= 1000 else ".4g"
    is_cpu_time = measurement.name.startswith("cost.cpu_s.") and measurement.unit == "s"
    unit = "CPU s per million rows" if is_cpu_time else measurement.unit
    return f"{measurement.value:{digits}} {unit}".rstrip()
