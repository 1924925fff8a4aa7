"""Whether what is said is what happens: the share observed for each probability that was said."""

from __future__ import annotations

from headway.core.verdict import RuleResult
from headway.reporting import details, meaning
from headway.reporting.charts.reliability import draw_reliability
from headway.reporting.section import Section, winner_measurements
from headway.reporting.story import ReportData
from headway.reporting.text import numbers


def plugin(story: ReportData) -> Section | None:
    """The reliability of the winner; None for fewer than two bins."""
    if story.winner is None or len(winner_measurements(story, "reliability")) < 2:
        return None
    return Section(
        title="Whether what is said is what happens",
        place=12,
        reads=("reliability", "ece"),
        lead="The rows were sorted by the probability that they were given, and counted: how often it was right.",
        means=tuple(_means(story)),
        sheet=details.tabulate_reliability(story.winner.evidence),
        picture=lambda: draw_reliability(story),
    )


def _means(story: ReportData) -> list[str]:
    error = next((measurement for measurement in winner_measurements(story, "ece") if not measurement.slice), None)
    if error is None or not numbers.has_interval(error):
        return ["How far off the probabilities are on average cannot be said on these rows."]
    message = f"A probability that it gives is off by {meaning.describe_interval(error, scale=100.0)} points of 100 on average"
    rule_result = next((rule_result for rule_result in _rulings(story) if rule_result.rule.measure == "ece"), None)
    limit = rule_result.rule.at_most if rule_result else None
    if rule_result is None or limit is None:
        return [f"{message}."]
    ends = {
        "pass": f"less than the {limit * 100:g} that the policy allows",
        "fail": f"more than the {limit * 100:g} that the policy allows",
        "undecided": f"and the data cannot tell whether that is within the {limit * 100:g} that the policy allows",
    }
    return [f"{message}, {ends[rule_result.answer]}."]


def _rulings(story: ReportData) -> tuple[RuleResult, ...]:
    return story.winner.verdict.rule_results if story.winner else ()
