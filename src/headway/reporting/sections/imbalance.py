"""Class imbalance: what weights, corrected probabilities and the threshold change compared with no treatment."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.reporting import statements as meaning
from headway.reporting.charts.intervals import IntervalPanel, IntervalRow, intervals_chart
from headway.reporting.charts.theme import SEE_TABLE, RenderedChart, render_chart
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, winner_measurements
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Column, Line, Table, measurement_cell

_BEGINS, _COST, _RECALL, _AUC = (
    "imbalance.",
    "imbalance.cost.drop",
    "imbalance.recall.drop",
    "imbalance.roc_auc.drop",
)
_SHOWN = (
    "imbalance.cost",
    _COST,
    "imbalance.recall",
    "imbalance.false_positive_rate",
    "imbalance.brier",
    "imbalance.roc_auc",
)
_BASELINE = "baseline"
_SAID = {
    _BASELINE: "nothing done",
    "weights": "the rare class counts as much as the other",
    "weights, corrected": "the same, with its probabilities set back",
    "prior of the rows": "probabilities set to how often these rows are of it",
    "threshold 0.5": "yes is said from one half on",
}


def plugin(report: ReportData) -> Section | None:
    """Return the section on class imbalance; None where no class is rare or the model could not be retrained."""
    costs = winner_measurements(report, _COST)
    rate = next(
        (measurement for measurement in winner_measurements(report, "imbalance.base_rate") if not measurement.slice),
        None,
    )
    if not costs or rate is None:
        return None
    held = report.winner.evidence.measurements if report.winner else ()
    found = tuple(measurement for measurement in held if measurement.name.startswith(_BEGINS) and measurement.slice)
    return Section(
        title="When yes or no is rare",
        place=27,
        prefixes=(_BEGINS,),
        lead="A model learns little of what is rare. Four usual treatments were tried on the same rows, each beside "
        "doing nothing; what a wrong decision costs is what the project says.",
        conclusions=(f"{_rate(rate)}.", _cheaper(costs), *_moves(report), *_ranks(report)),
        table=_sheet(found, report.groups),
        picture=lambda: _picture(report, costs),
    )


def _sheet(found: tuple[Measurement, ...], groups: str) -> Table:
    """Tabulate the treatments with their results and the cost against no treatment."""
    by_name = {(measurement.name, measurement.slice): measurement for measurement in found}
    rows = tuple(
        (
            (Line(text=name, style="strong"),),
            *(measurement_cell(_bare(by_name.get((measure, name))), groups=groups) for measure in _SHOWN),
        )
        for name in dict.fromkeys(measurement.slice for measurement in found)
    )
    titles = ("What was done", *map(words.measure_title, _SHOWN))
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _bare(seen: Measurement | None) -> Measurement | None:
    return None if seen is None else replace(seen, slice="")


def _rate(rate: Measurement) -> str:
    message, share = ("yes", rate) if rate.value < 0.5 else ("no", _rest(rate))
    return f"The right answer is {message} in {meaning.describe_percentage(share)} cases"


def _rest(rate: Measurement) -> Measurement:
    """Return the share of the other class."""
    return replace(rate, value=1 - rate.value, low=1 - rate.high, high=1 - rate.low)


def _cheaper(costs: tuple[Measurement, ...]) -> str:
    """Return which treatments change the cost of decisions, corrected for comparing several."""
    better = [measurement for measurement in meaning.shown_below(costs) if formatting.has_interval(measurement)]
    worse = [measurement for measurement in meaning.shown_above(costs) if formatting.has_interval(measurement)]
    said = []
    if better:
        said.append(f"decisions cost less with {_listed(better)}")
    if worse:
        said.append(f"decisions cost more with {_listed(worse)}")
    if not said:
        return "No treatment is shown to change what decisions cost: leave the classes as they are."
    rest = "" if better else "; leave the classes as they are"
    text = f"{'; '.join(said)}{rest}."
    return text[:1].upper() + text[1:]


def _listed(found: list[Measurement]) -> str:
    return meaning.join_names([f"'{measurement.slice}'" for measurement in found])


def _moves(report: ReportData) -> list[str]:
    """Return what class weights do to recall."""
    lost = next(
        (measurement for measurement in winner_measurements(report, _RECALL) if measurement.slice == "weights"), None
    )
    if lost is None or lost not in meaning.shown_below([lost]):
        return []
    ends = {measurement.slice: measurement for measurement in winner_measurements(report, "imbalance.recall")}
    before, after = (f"{ends[name].value * 100:.0f}" for name in (_BASELINE, "weights"))
    return [
        f"Weights find more of what is rare ({after} instead of {before} of 100 cases); a lower threshold does so too."
    ]


def _ranks(report: ReportData) -> list[str]:
    lost = winner_measurements(report, _AUC)
    if not lost or meaning.shown_below(lost) or meaning.shown_above(lost):
        return []
    return ["None is shown to rank cases better or worse: they move where yes begins, and not what is known."]


def _picture(report: ReportData, costs: tuple[Measurement, ...]) -> RenderedChart:
    shown = len(meaning.shown_above(costs)) + len(meaning.shown_below(costs))
    title = f"{shown} of {len(costs)} treatments are shown to change what a decision costs"
    worse = meaning.shown_above(costs)
    panels = [
        IntervalPanel(
            title="What a decision costs more",
            axis="left of 0 it costs less than doing nothing",
            spans=tuple(_span(measurement, worse) for measurement in costs),
        ),
        IntervalPanel(
            title="Found of 100 that are rare",
            axis="of 100 cases, so many are found",
            spans=tuple(_span(measurement, ()) for measurement in winner_measurements(report, "imbalance.recall")),
            marks=(),
            scale=100.0,
        ),
    ]
    return render_chart(
        intervals_chart(panels),
        name="imbalance",
        title=title,
        alt=f"{title}; below, how many of the rare cases each finds. {SEE_TABLE}",
        reading=(
            *(f"{name}: {message}." for name, message in _SAID.items()),
            "A cross marks what is shown to cost more, of all that were tried together.",
        ),
    )


def _span(seen: Measurement, worse: tuple[Measurement, ...] | list[Measurement]) -> IntervalRow:
    return IntervalRow(name=seen.slice, seen=seen, style="fail" if seen in worse else "live")
