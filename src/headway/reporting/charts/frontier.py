"""The frontier: what each variant costs in quality against the time it takes for one row."""

from __future__ import annotations

import math

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.verdict import EvaluatedVariant, Rule
from headway.reporting import meaning
from headway.reporting.charts.drawing import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.charts.scatter import VariantPoint, scatter_chart
from headway.reporting.story import ReportData
from headway.reporting.text import numbers, words
from headway.reporting.text.sheets import baseline_answer

SPEED = "latency.one_row"


def draw_pareto(story: ReportData) -> RenderedChart | None:
    """The frontier of a story; None where no two variants have both a time for one row and a loss."""
    measure = charted_loss(story)
    points = _points(story, measure)
    if len(points) < 2:
        return None
    limit = _limit(points[0].judged, measure)
    return render_chart(
        lambda size: scatter_chart(points, limit, size),
        name="frontier",
        title=_title(story, points),
        alt=_alt(points, measure),
        reading=_reading(story, measure, limit),
    )


def pareto_conclusions(story: ReportData) -> tuple[str, ...]:
    """What the search came to, by the ends of the intervals."""
    speedup = story.of_winner("latency.speedup")
    if story.winner is None or speedup is None or not numbers.has_interval(speedup):
        return ()
    if not story.winner.variant.steps:
        return ("No other form of the model was both faster and shown to do no harm: it stays as it came.",)
    harm = {
        "pass": "and is shown to do no harm beyond the limits of the policy",
        "fail": "but it breaks a limit of the policy",
        "undecided": "but the data cannot tell whether it keeps within the limits of the policy",
    }[baseline_answer(story.winner.verdict)]
    if speedup.low <= 1:
        return (f"The {story.word} form is not shown to be faster, {harm}.",)
    return (f"The {story.word} form answers one row {_times(speedup)} times as fast, {harm}.",)


def _times(speedup: Measurement) -> str:
    return meaning.describe_interval(replace(speedup, unit=""))


def charted_loss(story: ReportData) -> str:
    """The loss on the vertical axis: the first that a rule limits and evidence holds, else the first in evidence."""
    if not story.frontier:
        return ""
    ruled = [rule_result.rule.measure for rule_result in story.frontier[0].verdict.rule_results]
    held = [measurement.name for measurement in story.frontier[0].evidence.measurements if not measurement.slice]
    losses = [name for name in (*ruled, *held) if name.endswith(".drop") and name in held]
    return losses[0] if losses else ""


def _points(story: ReportData, measure: str) -> list[VariantPoint]:
    points = []
    for index, judged in enumerate(story.frontier, start=1):
        time, loss = judged.evidence.find(SPEED), judged.evidence.find(measure)
        if time is not None and loss is not None and time.value > 0 and math.isfinite(loss.value):
            released = story.is_winner(judged)
            word = f" {story.word}" if released else "" if judged.variant.steps else " as it came"
            points.append(VariantPoint(label=f"{index}{word}", judged=judged, time=time, loss=loss, released=released))
    return sorted(points, key=lambda point: -len(point.label))


def _limit(judged: EvaluatedVariant, measure: str) -> float | None:
    rules = [rule_result.rule for rule_result in judged.verdict.rule_results if rule_result.rule.measure == measure]
    return rules[0].at_most if rules else None


def _title(story: ReportData, points: list[VariantPoint]) -> str:
    passing = sum(baseline_answer(point.judged.verdict) == "pass" for point in points)
    inside = f"{passing} of {len(points)} variants are shown to do no harm beyond the limits"
    speedup = story.of_winner("latency.speedup")
    if story.winner is None or speedup is None:
        return inside
    if not story.winner.variant.steps:
        return f"{inside}; the model stays as it came"
    return f"{inside}; the {story.word} one answers one row {numbers.format_ratio(speedup)} as fast"


def _alt(points: list[VariantPoint], measure: str) -> str:
    named = "; ".join(
        f"variant {point.label}, {numbers.format_measurement(point.time)}, {numbers.format_measurement(point.loss)}, "
        f"{words.ANSWERS[baseline_answer(point.judged.verdict)]}"
        for point in points
        if " " in point.label
    )
    told = f": {named}" if named else ""
    return f"{len(points)} variants by time for one row and {words.measure_name(measure)}{told}. {SEE_TABLE}"


def _reading(story: ReportData, measure: str, limit: float | None) -> tuple[str, ...]:
    lines = [
        "Each mark is a variant; its number is its line in the table below. Further left is faster, further down is "
        "better. Colour and shape tell what the rules say that compare with the model as it came.",
        f"{words.measure_title(measure)}: {words.measure_meaning(measure)}",
        f"Vertical lines are 95 % intervals: what many more {story.groups} like these would show lies along the line, "
        "but for one time in twenty.",
    ]
    if limit is not None:
        rule = Rule(measure=measure, at_most=limit)
        lines.append(f"The shaded part lies beyond the limit of the policy ({words.rule_limit(rule)}).")
    return tuple(lines)
