"""Class imbalance: what weights, corrected probabilities and the threshold change compared with no treatment."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.reporting.charts.intervals import IntervalPanel
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    draw_intervals,
    interval_rows,
    measurements_with_prefix,
    shown_above,
    shown_below,
    winner_measurement,
    winner_measurements,
)
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Table, make_table, measurement_cell, text_cell

_PREFIX, _COST, _RECALL = "imbalance.", "imbalance.cost.drop", "imbalance.recall"
_COLUMNS = (
    "imbalance.cost",
    _COST,
    _RECALL,
    *(f"imbalance.{name}" for name in ("false_positive_rate", "brier", "roc_auc")),
)
_BASELINE = "baseline"
_TREATMENTS = {
    _BASELINE: "no treatment",
    "weights": "both classes have the same total weight",
    "weights, corrected": "the same, with the probabilities corrected for the weights",
    "prior of the rows": "probabilities adjusted to the class frequencies of these rows",
    "threshold 0.5": "positive from a probability of 0.5",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on class imbalance; None where no class is rare or the model could not be retrained."""
    costs, rate = winner_measurements(report, _COST), winner_measurement(report, "imbalance.base_rate")
    if not costs or rate is None:
        return None
    found = [measurement for measurement in measurements_with_prefix(report, _PREFIX) if measurement.slice]
    return Section(
        title="Class imbalance",
        order=27,
        prefixes=(_PREFIX,),
        lead="Four common treatments of a rare class were compared with no treatment on the same rows, with the costs "
        "of wrong decisions that the project declares.",
        conclusions=(_frequency(rate), _cheaper(costs), *_recall(report), *_ranking(report)),
        table=_table(found, report.groups),
        picture=lambda: _picture(report, costs),
    )


def _table(found: Sequence[Measurement], groups: str) -> Table:
    """Tabulate the treatments with their results and the cost compared with no treatment."""
    by_name = {(measurement.name, measurement.slice): replace(measurement, slice="") for measurement in found}
    rows = (
        (
            text_cell(name, "strong"),
            *(measurement_cell(by_name.get((measure, name)), groups=groups) for measure in _COLUMNS),
        )
        for name in dict.fromkeys(measurement.slice for measurement in found)
    )
    return make_table(("Treatment", *map(words.measure_title, _COLUMNS)), rows)


def _frequency(rate: Measurement) -> str:
    name, share = "positive", rate
    if rate.value >= 0.5:
        name, share = "negative", replace(rate, value=1 - rate.value, low=1 - rate.high, high=1 - rate.low)
    return f"The {name} class is {formatting.describe_percentage(share)} rows."


def _cheaper(costs: tuple[Measurement, ...]) -> str:
    """Return which treatments change the cost of decisions, corrected for comparing several."""
    better, worse = (
        [f"'{measurement.slice}'" for measurement in shown if formatting.has_interval(measurement)]
        for shown in (shown_below(costs), shown_above(costs))
    )
    if not better and not worse:
        return "No treatment is shown to change the cost of decisions: none is needed."
    parts = [
        f"the cost of decisions is {word} with {formatting.join_names(names)}"
        for word, names in (("lower", better), ("higher", worse))
        if names
    ]
    text = "; ".join([*parts, *([] if better else ["no treatment is needed"])])
    return f"{text[:1].upper()}{text[1:]}."


def _recall(report: ReportData) -> list[str]:
    """Return what class weights do to recall."""
    lost = [
        measurement for measurement in winner_measurements(report, f"{_RECALL}.drop") if measurement.slice == "weights"
    ]
    if not shown_below(lost[:1]):
        return []
    recalls = {measurement.slice: measurement.value for measurement in winner_measurements(report, _RECALL)}
    before, after = (f"{recalls[name] * 100:.0f}" for name in (_BASELINE, "weights"))
    return [f"Weights increase the recall from {before} to {after} %; a lower threshold does so too."]


def _ranking(report: ReportData) -> list[str]:
    lost = winner_measurements(report, "imbalance.roc_auc.drop")
    if not lost or shown_below(lost) or shown_above(lost):
        return []
    return ["No treatment is shown to change the ranking: treatments move the threshold only."]


def _picture(report: ReportData, costs: tuple[Measurement, ...]) -> RenderedChart:
    worse = shown_above(costs)
    panels = [
        IntervalPanel(
            title="Cost of a decision",
            axis="left of 0, it is cheaper than no treatment",
            spans=interval_rows(costs, worse),
        ),
        IntervalPanel(
            title="Recall",
            axis="% of the rare class",
            spans=interval_rows(winner_measurements(report, _RECALL)),
            marks=(),
            scale=100.0,
        ),
    ]
    return draw_intervals(
        "imbalance",
        f"{len(worse) + len(shown_below(costs))} of {len(costs)} treatments are shown to change the cost of a decision",
        panels,
        alt="; below, the recall of each",
        reading=(
            *(f"{name}: {message}." for name, message in _TREATMENTS.items()),
            "A cross marks a treatment that is shown to cost more, corrected for all comparisons.",
        ),
    )
