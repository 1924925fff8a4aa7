"""The search: every combination of transforms, the fastest feasible variant first, and why each other one lost.

V001: A transform failed on a variant (warn), or does not apply to it (note).
V003: A transform was not tried, as half of the time budget was used up (note).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from headway.core import plugins
from headway.core.errors import EngineError, NotApplicable, PluginError
from headway.core.evidence import Finding, Measurement
from headway.core.record import Record
from headway.core.variant import Variant
from headway.core.verdict import EvaluatedVariant, RuleResult, Verdict
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.screening import (
    UNLIMITED,
    TimeBudget,
    answer_changing_steps,
    cost_lower_bound,
    objective_cost,
    screened_out,
)

Feasible = Callable[[Verdict], bool]

CODE, NOT_TRIED = "V001", "V003"
STAGES = ("train", "truncate", "restructure", "export", "lower", "other", "runtime", "execution")
"""Order in which the search applies transforms, each of which declares its STAGE; "other" is the default."""
_TRANSFORM_SHARE = 0.5  # share of a search's time in which variants are made
# What a plug-in that breaks may raise: it must not end the search.
_PLUGIN_FAILURES = (
    *(ArithmeticError, AttributeError, ImportError, LookupError, MemoryError),
    *(OSError, RuntimeError, TypeError, ValueError),
)
_ANSWER_PHRASES = {"fail": "does harm", "undecided": "not shown to be harmless"}


class Candidates(Record, frozen=True, kw_only=True):
    """Variants, the model as it came first, and of each transform that gave none, or failed, why (V001)."""

    variants: tuple[Variant, ...]
    refusals: tuple[Finding, ...] = ()


def generate_candidates(
    model: Variant, context: TransformContext, transforms: Sequence[str] = (), *, clock: TimeBudget = UNLIMITED
) -> Candidates:
    """Every combination of the transforms, applied in this order; without names, all that are installed.

    A transform that failed is a finding of severity `warn`, one that applies to no variant a `note`, with the reason
    that the model as it came gives; so is one that was not tried as half of the clock's time was used up. Raises
    PluginError for a name that no transform has.
    """
    variants = {model.digest: model}
    refusals: list[Finding] = []
    installed = [name for name in plugins.names("transform") if _takes_part(name, context)]
    for name in transforms or sort_transforms(installed):
        results = [
            _not_tried(name, variant, clock)
            if clock.is_over(_TRANSFORM_SHARE)
            else apply_transform(name, variant, context)
            for variant in list(variants.values())
        ]
        variants |= {new.digest: new for result in results if not isinstance(result, Finding) for new in result}
        findings = [result for result in results if isinstance(result, Finding)]
        refusals += _select_findings(findings, gave_nothing=len(findings) == len(results))
    return Candidates(variants=tuple(variants.values()), refusals=tuple(refusals))


def _select_findings(findings: Sequence[Finding], *, gave_nothing: bool) -> list[Finding]:
    """Select the failures, one of each message, and one note: not tried, or why the transform gave nothing."""
    failures = {finding.message: finding for finding in reversed(findings) if finding.severity != "note"}
    notes = [finding for finding in findings if finding.severity == "note"]
    not_tried = [finding for finding in notes if finding.code == NOT_TRIED]
    first = notes[:1] if gave_nothing and not failures else []
    return [*reversed(failures.values()), *(not_tried[:1] or first)]


def _takes_part(name: str, context: TransformContext) -> bool:
    """Return whether the fields of the context that a transform declares as REQUIRES are there."""
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


def rank_by_objective(judged: Sequence[EvaluatedVariant], objective: str, feasible: Feasible) -> list[EvaluatedVariant]:
    """The feasible variants that beat the model as it came, best objective first; at the end the model as it came.

    Among those that the interval of the best cannot tell from it, one that answers as the model did comes first, then
    the one of fewest steps. Raises EngineError where the model as it came is not among them: there is nothing to fall
    back on.
    """
    origin = next((row for row in judged if not row.variant.steps), None)
    if origin is None:
        raise EngineError("the model as it came is not among the judged variants", hint="judge it as well")
    limit = objective_cost(origin, objective)
    others = [row for row in judged if row is not origin and not screened_out(row)]
    left = [row for row in others if feasible(row.verdict) and objective_cost(row, objective) < limit]
    ordered: list[EvaluatedVariant] = []
    while left:
        best = min(left, key=lambda row: objective_cost(row, objective))
        alike = [row for row in left if cost_lower_bound(row, objective) <= objective_cost(best, objective)]
        ordered.append(min(alike, key=lambda row: (*_distance(row.variant), objective_cost(row, objective))))
        left.remove(ordered[-1])
    return [*ordered, origin]


def explain_losses(judged: Sequence[EvaluatedVariant], winner: Variant, objective: str) -> dict[str, str]:
    """Of every variant but the winner, by its name, one sentence on why it lost."""
    won = next(row for row in judged if row.variant.digest == winner.digest)
    return {row.variant.name: explain_loss(row, won, objective) for row in judged if row is not won}


def explain_loss(row: EvaluatedVariant, winner: EvaluatedVariant, objective: str) -> str:
    """One sentence on why a variant lost: the relative rules it did not pass, or how it compares with the winner."""
    mine, best = row.evidence.find(objective), winner.evidence.find(objective)
    left = screened_out(row)
    if left and mine and best:
        return f"{left}: {_format_measurement(mine)} against {_format_measurement(best)}"
    unmet = [
        rule_result
        for rule_result in row.verdict.rule_results
        if rule_result.rule.relative and rule_result.answer != "pass"
    ]
    if unmet:
        return "; ".join(
            f"{_ANSWER_PHRASES[rule_result.answer]}: {_format_rule_result(rule_result)}" for rule_result in unmet
        )
    if mine is None or best is None:
        return f"{objective} was not measured, so nothing says that it is better"
    near = min(row, winner, key=lambda each: objective_cost(each, objective))
    far = winner if near is row else row
    if cost_lower_bound(far, objective) <= objective_cost(near, objective) and len(row.variant.steps) > len(
        winner.variant.steps
    ):
        said = f"{_format_measurement(mine)} against {_format_measurement(best)}"
        return f"as fast as the winner, as far as can be told, and further from the model as it came: {said}"
    if near is row:
        return "better on validation, but not feasible on test"
    return f"{mine.value / best.value:.2f} times the winner's {objective}: {_format_measurement(mine)} against {_format_measurement(best)}"


def _distance(variant: Variant) -> tuple[int, int]:
    """How far a variant is from the model as it came: steps that change answers, and steps."""
    return len(answer_changing_steps(variant)), len(variant.steps)


def _not_tried(name: str, variant: Variant, clock: TimeBudget) -> Finding:
    message = f"{name}: not tried, as half of {clock} was used up"
    hint = "headway optimize --budget 10m"
    return Finding(code=NOT_TRIED, severity="note", message=message, where=variant.name, hint=hint)


def apply_transform(name: str, variant: Variant, context: TransformContext) -> Sequence[Variant] | Finding:
    """What a transform makes of a variant, or the finding that says why it makes nothing."""
    try:
        return load_transform(name)(variant, context)
    except NotApplicable as reason:
        return Finding(
            code=CODE, severity="note", message=f"{name}: {reason.what}", where=variant.name, hint=reason.hint
        )
    except (EngineError, PluginError) as error:
        if name not in plugins.names("transform"):
            raise
        where = ", ".join(filter(None, (variant.name, error.where)))
        return Finding(code=CODE, severity="warn", message=f"{name}: {error.what}", where=where, hint=error.hint)
    except _PLUGIN_FAILURES as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{name} broke: {type(error).__name__}: {error}"
        where = f"{variant.name}, {place.filename}:{place.lineno}"
        hint = f"leave {name} out: [optimize] transforms"
        return Finding(code=CODE, severity="warn", message=message, where=where, hint=hint)


def _format_rule_result(rule_result: RuleResult) -> str:
    """A ruling in few words: `decision_churn 0.068 [0.058, 0.078], at most 0.05 is allowed`."""
    seen = rule_result.measurement
    if seen is None:
        return rule_result.message
    name = " ".join(filter(None, (seen.name, seen.slice)))
    _, _, limit = str(rule_result.rule).partition(" ")
    return f"{name} {seen.value:.2g} [{seen.low:.2g}, {seen.high:.2g}], {limit} is allowed"


def _format_measurement(measurement: Measurement) -> str:
    return f"{measurement.value:.4g} {measurement.unit}".rstrip()
