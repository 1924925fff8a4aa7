"""Titles, short names and explanations of measures, for readers who are not statisticians."""

from __future__ import annotations

import difflib

from headway.core.evidence import Evidence, Measurement
from headway.core.measure import main_measures_among, measure_prefixes, measures
from headway.core.search_result import SearchResult
from headway.core.selective import AnswerPlan
from headway.core.verdict import LIVE, Answer, Rule, RuleResult
from headway.reporting.text import formatting
from headway.reporting.text.speeds import busy_finding

COST_UNIT = "units of [model] costs"
"""Unit of the cost of decisions: that in which the project declares the costs of its errors."""
_PROPER_NAMES = ("Brier", "CPU", "F1")
ANSWERS: dict[Answer, str] = {"pass": "passes", "fail": "fails", "undecided": "is undecided"}


def measure_title(measure: str) -> str:
    """Return a measure's title, such as `Ranking (AUC)`; an unknown measure keeps its name.

    >>> measure_title("roc_auc.drop"), measure_title("worst_slice.brier.drop"), measure_title("discovered.brier.excess")
    ('Loss in AUC', 'Worst slice: loss in Brier', 'Discovered slice: excess in Brier')
    """
    if (described := measures().get(measure)) and described.title:
        return described.title
    if prefix := _prefix(measure):
        return measure_prefixes()[prefix].title + measure_name(measure.removeprefix(prefix))
    if measure.endswith(".drop"):
        return f"Loss in {measure_symbol(measure)}"
    if measure.endswith(".lag1"):
        return f"Autocorrelation of groups in {measure_symbol(measure.removesuffix('.lag1'))}"
    if measure.endswith(".excess"):
        return f"Excess in {measure_symbol(measure.removesuffix('.excess'))}"
    return measure


_SUFFIXES = ("", ".drop", ".decrease", ".lag1", ".excess", ".change", ".ratio")


def is_known_measure(measure: str) -> bool:
    """Return whether a measure has a title, as such or as a part, loss or excess of one that has.

    >>> is_known_measure("worst_slice.roc_auc.drop"), is_known_measure("roc_auc.dorp")
    (True, False)
    """
    prefixes = [prefix for prefix in ("", *measure_prefixes()) if measure.startswith(prefix)]
    stems = {measure.removeprefix(prefix).removesuffix(suffix) for prefix in prefixes for suffix in _SUFFIXES}
    stems |= {stem.removeprefix(prefix) for stem in stems for prefix in measure_prefixes()}
    return any(stem in _rule_measures() for stem in stems)


def _rule_measures() -> list[str]:
    """Return the measures that a rule may name."""
    return [name for name, measure in measures().items() if measure.in_policies]


def nearest_measure(measure: str) -> str:
    """Return the known measure that is nearest to a name; empty if none is near.

    >>> nearest_measure("roc_auc.dorp"), nearest_measure("acuracy"), nearest_measure("zzz")
    ('roc_auc.drop', 'accuracy', '')
    """
    prefix = _prefix(measure)
    names = _rule_measures()
    known = [*names, *(f"{name}.drop" for name in names if not name.endswith(".drop"))]
    near = difflib.get_close_matches(measure.removeprefix(prefix), known, 1, cutoff=0.6)
    return prefix + near[0] if near else ""


def _prefix(measure: str) -> str:
    return next((prefix for prefix in measure_prefixes() if measure.startswith(prefix)), "")


def measure_name(measure: str) -> str:
    """Return a measure's name within a sentence: `ranking (AUC)`, `loss in Brier`."""
    name = measure_title(measure)
    return name if name == measure or name.startswith(_PROPER_NAMES) else name[:1].lower() + name[1:]


def measure_symbol(measure: str) -> str:
    """Return the short name of a measure, such as `AUC`, or else its title."""
    stem = measure.removesuffix(".drop")
    for name in (stem, stem.removeprefix(_prefix(stem))):
        if (described := measures().get(name)) and described.symbol:
            return described.symbol
    return measure_title(stem)


def column_title(measure: str) -> str:
    """Return the short name of a measure as the title of a column: `AUC`, `Log loss`."""
    symbol = measure_symbol(measure)
    return symbol[:1].upper() + symbol[1:]


def measure_meaning(measure: str) -> str:
    """Return one sentence on what a measure means; empty if it is unknown."""
    if (described := measures().get(measure)) and described.title:
        return described.explanation
    if prefix := _prefix(measure):
        return f"{measure_prefixes()[prefix].explanation} {measure_meaning(measure.removeprefix(prefix))}".lstrip()
    if measure.endswith(".lag1"):
        return "Correlation of a group of rows with the previous one; it widens the intervals."
    if measure.endswith(".excess"):
        return "Error on these rows minus that on all other rows."
    if measure.endswith(".drop"):
        return "Loss compared with the baseline, on the same rows; below 0 is better."
    return ""


def describe_violation(measure: str) -> str:
    """Describe what is wrong with a variant that breaks a rule on this measure, without full stop."""
    described, stem = measures().get(measure), measures().get(measure.removesuffix(".drop"))
    prefix = measure_prefixes().get(_prefix(measure))
    return (
        (described.violation if described else "")
        or (prefix.violation if prefix else "")
        or (stem.drop_violation if stem and measure.endswith(".drop") else "")
        or f"It breaks the rule on {measure_name(measure)}"
    )


def rule_limit(rule: Rule) -> str:
    """Return the limit of a rule: `at most 0.005`, `at least 0.7`, `at most 5 %`."""
    word, value = ("at most", rule.at_most) if rule.at_most is not None else ("at least", rule.at_least or 0.0)
    return f"{word} {formatting.format_limit(value, rule.measure)}"


def main_measurements(evidence: Evidence) -> tuple[Measurement, ...]:
    """Return the main measures of quality, the gains over the floor, and the difference to the live release."""
    main = main_measures_among(evidence.names(), first=2)
    names = (*main, "gain_over_constant", "gain_over_reference", *(f"{LIVE}{name}.drop" for name in main[:1]))
    return tuple(found for name in names if (found := evidence.find(name)) is not None)


def describe_quality(evidence: Evidence) -> str:
    """Describe the main measures in one line with the rows behind them, or that none was measured."""
    found = main_measurements(evidence)
    if not found:
        return "not measured"
    figures = "; ".join(describe_measurement(measurement) for measurement in found)
    return f"{figures} ({formatting.format_basis(found[0])})"


def describe_undecided_changes(search: SearchResult) -> str:
    """Describe the variant that fewest rows more would decide on, if only its changed decisions are; else empty."""
    candidates = [
        (result.groups_needed or 0, row.variant.name, result.message)
        for row in search.evaluated
        for result in row.verdict.rule_results
        if result.rule.measure == "decision_churn" and result.answer == "undecided" and result.groups_needed
        if all(other.answer == "pass" for other in row.verdict.rule_results if other is not result)
    ]
    if not candidates:
        return ""
    _, name, message = min(candidates)
    return f"undecided, and not chosen: {name}: {message}"


def describe_answers(plan: AnswerPlan) -> str:
    """Describe in one line which rows a model answers alone, and how many of its answers may be wrong."""
    certificate = plan.certificate
    if not plan.thresholds:
        needed = certificate.groups_needed
        more = f"; about {needed:,} held-out rows or groups would do" if needed else ""
        limit = f"at most {certificate.limit:.3g} of the answers wrong"
        return f"answers nothing alone: no threshold is certified for {limit}{more}"
    by = f"together with the device's release {plan.forwarded_by[7:19]}" if plan.forwarded_by else "alone"
    risk = certificate.risk
    share = formatting.describe_percentage(certificate.coverage)
    basis = formatting.format_basis(certificate.coverage)
    return (
        f"answers {share} rows {by} ({basis}), by {plan.rule}: {risk.value:.2%} of {risk.n_rows:,} answers "
        f"wrong, certified to be at most {certificate.limit:.3g} with {risk.level:.4g} confidence"
    )


def describe_measurement(measurement: Measurement) -> str:
    """Describe a measurement within a sentence: `loss in AUC 0.0765 [0.0610, 0.0920]`."""
    where = f" in {measurement.slice}" if measurement.slice else ""
    return f"{measure_name(measurement.name)}{where} {formatting.format_measurement(measurement)}"


def describe_rule_result(rule_result: RuleResult) -> str:
    """Describe a rule result with its limit: `loss in AUC 0.0765 [0.0610, 0.0920], limit: at most 0.005`."""
    if rule_result.measurement is None:
        return f"{measure_name(rule_result.rule.measure)}: {rule_result.message}"
    return f"{describe_measurement(rule_result.measurement)}, limit: {rule_limit(rule_result.rule)}"


def no_faster_variant(search: SearchResult) -> str:
    """Say that a search returned the baseline, and why: what may find a faster variant, if anything."""
    others = len(search.evaluated) + len(search.screened_out) - 1
    longer = f"; try {search.suggested_budget_s:g} s" if search.suggested_budget_s else ""
    if busy_finding([row.evidence for row in search.evaluated]) and (others or longer):
        tried = f", and by CPU time none of the {others} forms tried is shown to be faster" if others else ""
        return f"not measured: other processes used the cores{tried}{longer}"
    if longer:
        return f"no faster variant was found in {search.budget_s:g} s{longer}"
    if not others:
        return "no faster variant was found: no transform applies to this model"
    return f"no faster variant was found: none of the {others} forms tried is shown to be faster and to meet the policy"
