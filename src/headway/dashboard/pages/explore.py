"""Explore: choose a variant, threshold, costs and what goes wrong, and see what that does, as it was measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.core.errors import HeadwayError
from headway.core.evidence import Measurement
from headway.core.late import LateModule
from headway.core.measure import lower_is_better, quality_measures
from headway.dashboard.page import BadInput, Call, Page, Rendered, Reply, View
from headway.evaluation.explore import (
    ALL,
    MISSING,
    MONTH,
    NONE,
    TRAITS,
    USUAL,
    ExploreTables,
    Form,
    Outcome,
    nearest_form,
    tables_file,
)
from headway.registry.searches import search_digest
from headway.reporting.charts.small import band_chart, calibration_chart
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Cell, Line, Table, make_table, measurement_cell, text_cell

if TYPE_CHECKING:
    from headway.dashboard.work import explore as explore_work
else:  # only the process for heavy work imports them
    explore_work = LateModule("headway.dashboard.work.explore")

PATH = "/models/{model}/explore"
MAX_COST = 1_000_000.0
MIN_SLICE_ROWS = 100
WAIT_S = 3.0
"""How long a page waits for tables that are made the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A choice: its field, label, values with their names, the chosen one, and what it is, in two sentences."""

    name: str
    label: str
    values: Sequence[tuple[str, str]]
    chosen: str
    help: str


LABELS: Mapping[str, tuple[str, str]] = {
    "trees": (
        "Trees kept",
        "A forest or boosted model adds up many trees; fewer are faster. Each tree that is left out moves the "
        "answers a little.",
    ),
    "stage": (
        "Student, cascade or another model",
        "A student is a small model that learned the answers of the large one. A cascade asks a few trees first, and "
        "the whole model only where they are unsure.",
    ),
    "bits": (
        "Bits of a weight",
        "Weights with 8 bits take a quarter of the memory of those with 32. Rounding them moves the answers.",
    ),
    "nodes": (
        "Nodes kept",
        "Pruning replaces the branches that matter least by one value. It makes trees smaller, and rare cases coarser.",
    ),
    "engine": (
        "Engine",
        "The engine is the program that computes the answers. It changes the speed, and answers only by rounding.",
    ),
}
MISSING_HELP = (
    "Every value of this column is missing, as if its source had failed. The model answers from the other columns."
)
MONTH_HELP = (
    "The rows of one month, unchanged. Months after the search show what a changed world does to a model that stays."
)
THRESHOLD_HELP = (
    "From this probability on, the model says yes. A lower threshold finds more cases and raises more false alarms."
)
COST_HELP = (
    "What a false alarm and a missed case cost you, in any unit. The curve below shows which threshold is cheapest."
)
NO_THRESHOLD = {
    "regression": "this model answers with a number, and decides nothing at a threshold",
    "multiclass": "this model names the most probable of several classes, so no single threshold decides",
    "multilabel": "this model gives each label above a probability of one half, so no single threshold decides",
}
NO_CURVE = {
    "regression": "it compares probabilities with what happened, and this model answers with a number; slices show by "
    "how much it is off on the average",
    "multiclass": "with several classes a single curve does not exist; the calibration error is among the measures",
    "multilabel": "with several labels a single curve does not exist; the calibration error is among the measures",
}
ERRORS = {"regression": "Mean absolute error", "multiclass": "Share of wrong classes"}
NEUTRAL = ("decided_positive",)
SPEEDS = (
    *("latency.one_row", "throughput.batch", "cost.cpu_s.one_row", "cost.per_million.one_row"),
    "cost.energy_j.one_row",
)
TITLES = {"decided_positive": "Share decided yes"}


def _explore(call: Call) -> Reply:
    project = call.project
    try:
        digest = search_digest(project, call.query.get("search", ""))
        tables = _tables(call, digest)
    except HeadwayError as error:
        return Rendered(template="explore.html", values={"problem": error})
    if tables is None:
        return Rendered(template="explore_making.html", values={"again": call.query})
    index = tables.index
    wanted = {name: call.query[name] for name in TRAITS if call.query.get(name)}
    _expect_known(index.forms, wanted)
    form, is_exact = nearest_form(index.forms, wanted)
    missing, month = call.query.get("missing", ""), call.query.get("month", "")
    condition = f"{MISSING}{missing}" if missing else f"{MONTH}{month}" if month else USUAL
    if tables.condition(condition) is None:
        raise BadInput(f"nothing was measured for {missing or month!r}", hint="choose from the lists of the page")
    threshold = tables.nearest_threshold(_number(call, "threshold", index.threshold, at_most=1.0))
    costs = (
        _number(call, "false_positive", index.costs[0], at_most=MAX_COST),
        _number(call, "false_negative", index.costs[1], at_most=MAX_COST),
    )
    usual = tables.measured(index.variants[0], USUAL, index.threshold, costs)
    outcome = tables.outcome(form.answers, condition, threshold, costs)
    values: dict[str, object] = {
        "problem": None,
        "digest": digest,
        "index": index,
        "form": form,
        "is_exact": is_exact,
        "wanted": _named(wanted),
        "controls": list(_controls(index.forms, wanted, form)),
        "conditions": _conditions(tables, missing, month),
        "both": bool(missing and month),
        "threshold": threshold,
        "costs": costs,
        "refused": index.refused.get(f"{form.answers}/{condition}", ""),
        "outcome": outcome,
        "helps": {"threshold": THRESHOLD_HELP, "costs": COST_HELP},
        "absent": _absent(tables, {name for name in TRAITS if len({one.traits[name] for one in index.forms}) > 1}),
        "answers_of": next(one.name for one in index.forms if one.digest == form.answers),
    }
    if outcome:
        values |= {
            "effects": _effects(index.forms[0], form, usual, outcome),
            "slices": _slices(outcome, index.task),
            "curve": band_chart(outcome.curve, at=threshold) if outcome.curve else "",
            "cheapest": min(outcome.curve, key=lambda point: point.value, default=None),
            "calibration": calibration_chart(outcome.reliability) if len(outcome.reliability) > 1 else "",
        }
    return Rendered(template="explore.html", values=values)


def _tables(call: Call, digest: str) -> ExploreTables | None:
    """Return the tables of a search, or None while they are made, the first time, by the process for heavy work."""
    config = call.project.config
    path = tables_file(config.state, digest)

    def opened() -> ExploreTables:
        if not path.exists():
            call.dashboard.long_work.run(explore_work.make, config, digest)
        return ExploreTables(path)

    made_ns = path.stat().st_mtime_ns if path.exists() else 0  # a damaged file is deleted, and made again
    return call.dashboard.cache.soon(("explore", str(path), made_ns), opened, within_s=WAIT_S)


def _expect_known(forms: Sequence[Form], wanted: Mapping[str, str]) -> None:
    for name, value in wanted.items():
        is_count = name == "trees" and value.isdecimal() and 0 < len(value) < 7 and int(value) > 0
        if not is_count and value not in {form.traits[name] for form in forms}:
            raise BadInput(
                f"no variant with {LABELS[name][0].lower()} {value!r} was measured",
                hint="choose from the lists of the page",
            )


def _number(call: Call, name: str, default: float, *, at_most: float) -> float:
    text = call.query.get(name, "").strip()
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0 <= value <= at_most:
        raise BadInput(
            f"{name.replace('_', ' ')} is {text!r}, and must be a number from 0 to {at_most:,.0f}",
            hint="use the slider or a number",
        )
    return value


def _controls(forms: Sequence[Form], wanted: Mapping[str, str], form: Form) -> Iterator[Control]:
    """Yield the choices that the measured variants differ in."""
    for name in TRAITS:
        found = {one.traits[name] for one in forms}
        if len(found) > 1:
            values = sorted(found, key=_order)
            label, help = LABELS[name]
            named = [(value, _named({name: value})[0]) for value in values]
            yield Control(name=name, label=label, values=named, chosen=wanted.get(name, form.traits[name]), help=help)


def _absent(tables: ExploreTables, varied: Collection[str]) -> list[str]:
    """Return for what this page has no control or chart, and why, one sentence each."""
    index = tables.index
    found = []
    missing = [LABELS[name][0].lower() for name in TRAITS if name not in varied]
    if missing:
        found.append(f"No variant that this search measured differs in: {'; '.join(missing)}.")
    for prefix, what in ((MISSING, "missing column"), (MONTH, "single month")):
        if not any(one.key.startswith(prefix) for one in index.conditions):
            found.append(f"There is no {what}: no labelled rows of one were measured.")
    if not index.thresholds:
        why = NO_THRESHOLD.get(index.task, f"a model of the task {index.task} decides nothing at a threshold")
        found.append(f"A threshold and costs of decisions do not apply: {why}.")
        why = NO_CURVE.get(index.task, f"a model of the task {index.task} gives no probabilities")
        found.append(f"A calibration curve does not apply: {why}.")
    return found


def _order(value: str) -> tuple[bool, float, str]:
    number = value.rstrip("%")
    return value not in (ALL, NONE), -float(number) if number.isdecimal() else 0.0, value


def _named(traits: Mapping[str, str]) -> list[str]:
    """Return what choices are called."""
    names = {
        ("trees", ALL): "all trees",
        ("nodes", ALL): "all nodes",
        ("bits", ALL): "as trained",
        ("stage", NONE): "the model itself",
    }
    units = {"trees": " trees", "bits": " bits", "nodes": " of the nodes"}
    return [names.get(one, f"{one[1]}{units.get(one[0], '')}") for one in traits.items()]


def _conditions(tables: ExploreTables, missing: str, month: str) -> list[Control]:
    keys = [one.key for one in tables.index.conditions]
    months = [key.removeprefix(MONTH) for key in keys if key.startswith(MONTH)]
    columns = [key.removeprefix(MISSING) for key in keys if key.startswith(MISSING)]
    return [
        Control(
            name="missing",
            label="Missing column",
            values=[("", "none"), *((name, name) for name in columns)],
            chosen=missing,
            help=MISSING_HELP,
        ),
        Control(
            name="month",
            label="Month",
            values=[("", "the rows of the search"), *((name, formatting.period_name(name)) for name in months)],
            chosen=month,
            help=MONTH_HELP,
        ),
    ]


def _effects(baseline: Form, form: Form, usual: Mapping[str, Measurement], outcome: Outcome) -> Table:
    """Tabulate what a choice does: the model as it is, the choice, and the difference."""
    rows: list[tuple[Cell, ...]] = []
    for name in SPEEDS:
        if baseline.find(name) or form.find(name):
            cells = (measurement_cell(baseline.find(name)), measurement_cell(form.find(name)))
            rows.append((text_cell(words.measure_title(name), "strong"), *cells, _ratio(baseline, form, name)))
    for name in dict.fromkeys(("cost", *NEUTRAL, *quality_measures())):
        if name in outcome.measured:
            title = TITLES.get(name) or words.measure_title(name)
            cells = (measurement_cell(usual.get(name)), measurement_cell(outcome.measured[name]))
            rows.append((text_cell(title, "strong"), *cells, _difference(name, outcome.differences.get(name))))
    return make_table(("Measure", "The model as it is", "Your choice", "Difference"), rows, folds=("Measure",))


def _ratio(baseline: Form, form: Form, name: str) -> Cell:
    """Return by what factor a time changed; their intervals say whether that is more than noise."""
    before, now = baseline.find(name), form.find(name)
    if before is None or now is None or not before.value or not now.value:
        return text_cell("not measured", "quiet")
    if form.digest == baseline.digest:
        return text_cell("the same", "quiet")
    is_rate = name.startswith("throughput")
    factor = now.value / before.value if is_rate else before.value / now.value
    apart = now.low > before.high or now.high < before.low
    word = "better" if factor > 1 else "worse"
    line = Line(text=f"x {formatting.format_number(factor)}")
    shown = Line(text=word, style="pass" if factor > 1 else "fail") if apart else Line(text="not shown", style="quiet")
    return (line, shown)


def _difference(name: str, found: Measurement | None) -> Cell:
    if found is None:
        return text_cell("not known", "quiet")
    if not found.value and found.low == found.high:
        return text_cell("none", "quiet")
    cell = measurement_cell(found)
    if found.low <= 0 <= found.high or name in NEUTRAL:
        return cell if name in NEUTRAL else (*cell, Line(text="not shown", style="quiet"))
    is_worse = (found.value > 0) == lower_is_better(name)
    return (*cell, Line(text="worse" if is_worse else "better", style="fail" if is_worse else "pass"))


def _slices(outcome: Outcome, task: str) -> Table:
    """Tabulate slices: cost or error with the choice, its difference from the model as it is, and calibration."""
    shown = [one for one in outcome.slices if one.n_rows >= MIN_SLICE_ROWS]
    has_bias = any(one.bias for one in shown)
    rows = (
        (
            (
                Line(text=one.slice, style="strong"),
                Line(text=f"{one.n_rows:,} rows, {one.n_groups:,} groups", style="quiet"),
            ),
            measurement_cell(one.cost),
            _difference("cost", one.difference),
            *((measurement_cell(_of_all(one.bias)),) if has_bias else ()),
        )
        for one in shown
    )
    titles = ("Slice", ERRORS.get(task, "Cost of a decision"), "Difference", *(("Observed − predicted",) * has_bias))
    return make_table(titles, rows, folds=("Slice",))


def _of_all(found: Measurement | None) -> Measurement | None:
    """Return a measurement without its slice, which the row names."""
    return (
        Measurement(**{name: getattr(found, name) for name in found.__struct_fields__} | {"slice": ""})
        if found
        else None
    )


plugin = Page(views=[View(PATH, _explore)], tab="Explore", order=45)
