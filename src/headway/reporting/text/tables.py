"""Tables as records, built once and laid out by terminal, report and card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from headway.core import plugins
from headway.core.assessment import UNJUDGED
from headway.core.evidence import Finding, Measurement
from headway.core.record import Record
from headway.core.release import PointerUpdate
from headway.core.verdict import Answer, EvaluatedVariant, Verdict
from headway.data.check import unjudged_check
from headway.data.leakage.taxonomy import LeakageKind
from headway.reporting.text import formatting, words
from headway.reporting.text.formatting import one_line

Style = Answer | Literal["plain", "quiet", "strong"]
VERDICT_MARKS: dict[Answer, str] = {"pass": "✓ pass", "fail": "✗ fail", "undecided": "? undecided"}
_SAID = {"harmful": "harms", "nothing": "buys nothing", "useless": "does nothing", "unsettled": "not decided"}
KIND_MOODS: dict[str, Style] = {"found": "fail", "undecided": "undecided", "clear": "pass", "not applicable": "quiet"}
SEVERITIES: dict[str, Style] = {"stop": "fail", "warn": "undecided", "undecided": "undecided", "note": "plain"}


class Line(Record, frozen=True, kw_only=True):
    """One line of a cell."""

    text: str
    style: Style = "plain"


Cell = tuple[Line, ...]


class Column(Record, frozen=True, kw_only=True):
    """A column: its title, and whether its text may be wrapped; numbers may not."""

    title: str
    folds: bool = False


class Table(Record, frozen=True, kw_only=True):
    """A table: columns and rows of cells; `chosen` is the highlighted row, or -1.

    The first column is the key that identifies rows when the others do not fit side by side. `notes` are sentences on the
    rows, one per row or none; an empty string is no note.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    chosen: int = -1
    notes: tuple[str, ...] = ()


def baseline_answer(verdict: Verdict) -> Answer:
    """Return the answer of the rules that compare with the baseline: pass is a variant shown to do no harm.

    Without such a rule it is the verdict's own answer.
    """
    answers = {rule_result.answer for rule_result in verdict.rule_results if rule_result.rule.relative}
    if not answers:
        return verdict.answer
    return "fail" if "fail" in answers else "undecided" if "undecided" in answers else "pass"


def tabulate_variants(
    judged: Sequence[EvaluatedVariant],
    *,
    winner: EvaluatedVariant | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Table:
    """Tabulate the variants: verdict, speed, quality, distance from the baseline, and why each lost."""
    won = winner.variant.digest if winner else ""
    shown = [name for name in _MEASURES if any(_measured(row, name) for row in judged)]
    rows = tuple(
        (
            (Line(text=str(number)),),
            (Line(text=row.variant.name, style="strong" if row.variant.digest == won else "plain"),),
            _verdict(row.verdict),
            *(measurement_cell(_measured(row, name)) for name in shown),
        )
        for number, row in enumerate(judged, start=1)
    )
    columns = (
        Column(title="#"),
        Column(title="Variant", folds=True),
        Column(title="Verdict"),
        *(Column(title=_MEASURES[name]) for name in shown),
    )
    chosen = next((index for index, row in enumerate(judged) if row.variant.digest == won), -1)
    notes = tuple((reasons or {}).get(row.variant.name, "") for row in judged)
    return Table(columns=columns, rows=rows, chosen=chosen, notes=notes)


def tabulate_variants_briefly(judged: Sequence[EvaluatedVariant], winner: EvaluatedVariant) -> Table:
    """Tabulate the variants, one line each: name, verdict, and the deciding figures."""
    rows = tuple(
        (
            (Line(text=str(number)),),
            (Line(text=row.variant.name),),
            (Line(text=VERDICT_MARKS[baseline_answer(row.verdict)], style=baseline_answer(row.verdict)),),
            *(_on_one_line(measurement_cell(_measured(row, name))) for name in _BRIEF),
        )
        for number, row in enumerate(judged, start=1)
    )
    titles = ("#", "Variant", "Verdict", *_BRIEF.values())
    chosen = next((index for index, row in enumerate(judged) if row.variant.digest == winner.variant.digest), -1)
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows, chosen=chosen)


def tabulate_rules(verdict: Verdict, *, groups: str = "groups") -> Table:
    """Tabulate a verdict rule by rule: measurement, limit, answer and explanation."""
    rows = tuple(
        (
            (
                Line(text=words.measure_title(rule_result.rule.measure), style="strong"),
                Line(text=rule_result.rule.measure, style="quiet"),
            ),
            measurement_cell(rule_result.measurement, groups=groups),
            (Line(text=words.rule_limit(rule_result.rule)),),
            (Line(text=VERDICT_MARKS[rule_result.answer], style=rule_result.answer),),
            (Line(text=rule_result.message, style="quiet"),),
        )
        for rule_result in verdict.rule_results
    )
    titles = (("Rule", True), ("Measured", False), ("Limit", False), ("Answer", False), ("In the judge's words", True))
    return Table(columns=tuple(Column(title=title, folds=folds) for title, folds in titles), rows=rows)


def tabulate_findings(found: Sequence[Finding]) -> Table:
    """Tabulate findings, most severe first: severity, what and where, the number with its limit, and the hint."""
    rows = tuple(
        (
            (Line(text=each.code, style="quiet"),),
            (Line(text=each.severity, style=SEVERITIES[each.severity]),),
            (
                Line(text=one_line(each.message)),
                *((Line(text=one_line(each.where), style="quiet"),) if each.where else ()),
            ),
            _against_limit(each),
            (Line(text=one_line(each.hint), style="quiet"),),
        )
        for each in sorted(found, key=lambda finding: list(SEVERITIES).index(finding.severity))
    )
    titles = (("Code", False), ("Severity", False), ("Finding", True), ("Measured", False), ("What to do", True))
    return Table(columns=tuple(Column(title=title, folds=folds) for title, folds in titles), rows=rows)


def tabulate_checks_not_run(found: Sequence[Finding]) -> Table:
    """Tabulate the checks that did not run: what each looks for, why it did not run, and what would let it run."""
    blind = [finding for finding in found if finding.code == UNJUDGED]
    rows = tuple(
        (
            _looks_for(unjudged_check(finding)),
            (Line(text=one_line(finding.reason or finding.message)),),
            (Line(text=one_line(finding.hint or "nothing, as the data are"), style="quiet"),),
        )
        for finding in sorted(blind, key=lambda finding: not finding.hint)
    )
    titles = ("Not judged", "Why", "What to do")
    return Table(columns=tuple(Column(title=title, folds=True) for title in titles), rows=rows)


def _looks_for(check: str) -> Cell:
    """Return the name of a check, with what it looks for if it is installed."""
    name = Line(text=one_line(check), style="strong")
    if check not in plugins.names("check"):
        return (name,)
    return (name, Line(text=one_line(plugins.describe("check", check).rstrip(".")), style="quiet"))


def tabulate_leakage(found: Sequence[LeakageKind]) -> Table:
    """Tabulate the eight kinds of leakage, each with its answer and the reason."""
    rows = tuple(
        (
            (Line(text=kind.name, style="strong"),),
            (Line(text=kind.answer, style=KIND_MOODS[kind.answer]),),
            (Line(text=one_line(kind.why)),),
        )
        for kind in found
    )
    titles = (("Kind of leakage", True), ("Answer", False), ("Why", True))
    return Table(columns=tuple(Column(title=title, folds=folds) for title, folds in titles), rows=rows)


def tabulate_measurements(found: Sequence[Measurement], *, groups: str = "groups") -> Table:
    """Tabulate measurements with interval, rows and groups."""
    rows = tuple(
        (
            (
                Line(text=words.measure_title(measurement.name), style="strong"),
                Line(text=measurement.name, style="quiet"),
            ),
            (Line(text=formatting.format_measurement(measurement)),),
            (Line(text=formatting.format_basis(measurement, groups), style="quiet"),),
        )
        for measurement in found
    )
    titles = (("Measure", True), ("Measured", False), ("On", False))
    return Table(columns=tuple(Column(title=title, folds=folds) for title, folds in titles), rows=rows)


def tabulate_ablation(found: Sequence[Measurement], audit: str) -> Table:
    """Tabulate what an audit measured without each part or feature, and its conclusion."""
    own = [measurement for measurement in found if measurement.name.startswith(f"{audit}.") and measurement.slice]
    shown = {
        (measurement.name, measurement.slice): measurement
        for measurement in own
        if measurement.name.removeprefix(f"{audit}.") not in _SAID
    }
    said = {
        measurement.slice: _SAID[word]
        for measurement in own
        if (word := measurement.name.removeprefix(f"{audit}.")) in _SAID
    }
    names = list(dict.fromkeys(name for name, _ in shown))
    rows = tuple(
        (
            (Line(text=part, style="strong"),),
            *(_of_part(shown.get((name, part))) for name in names),
            (Line(text=said.get(part, ""), style="undecided"),),
        )
        for part in dict.fromkeys(measurement.slice for measurement in own)
    )
    titles = [Column(title=words.measure_title(name)) for name in names]
    return Table(columns=(Column(title="Part", folds=True), *titles, Column(title="Shown")), rows=rows)


def _of_part(measured: Measurement | None) -> Cell:
    """Return the cell of a part that its row already names; empty where it was not measured."""
    return () if measured is None else measurement_cell(replace(measured, slice=""))


def tabulate_history(moves: Sequence[PointerUpdate]) -> Table:
    """Tabulate pointer updates, oldest first: time, pointer, release, who, verdict and why."""
    rows = tuple(
        (
            (Line(text=move.at),),
            (Line(text=f"{move.name}@{move.pointer} {move.number}"),),
            (Line(text=formatting.short_digest(move.release) or "withdrawn"),),
            (Line(text=move.who),),
            (Line(text=move.answer or "by hand", style="plain"),),
            (Line(text=move.why),),
        )
        for move in moves
    )
    titles = ("When (UTC)", "Pointer, move", "Release", "Who", "Verdict", "Why")
    return Table(columns=tuple(Column(title=title, folds=title == "Why") for title in titles), rows=rows)


def measurement_cell(measurement: Measurement | None, *, groups: str = "") -> Cell:
    """Return a measurement as a cell: value, then interval or rows; `groups` asks for both."""
    if measurement is None:
        return (Line(text="not measured", style="quiet"),)
    interval, basis = formatting.format_interval(measurement), formatting.format_basis(measurement, groups or "groups")
    under = [interval, measurement.slice, basis if groups else "" if interval else f"{measurement.n_rows:,} rows"]
    quiet = (Line(text=text, style="quiet") for text in under if text)
    return (Line(text=formatting.format_value(measurement)), *quiet)


_WORST = "worst_slice."
_MEASURES = {
    "latency.one_row": "One row",
    "latency.speedup": "Speedup",
    "throughput.batch": "Batch",
    "cost.per_million.one_row": "Cost a million",
    "cost.cpu_s.one_row": "CPU s a million",
    **{name: words.measure_symbol(name) for name in ("roc_auc", "brier", "ece", "rmse")},
    "roc_auc.drop": "AUC lost",
    "rmse.drop": "RMSE lost",
    f"{_WORST}brier.drop": "Brier lost, worst slice",
    "decision_churn": "Decisions changed",
    "max_change": "Largest change",
}
_BRIEF = {
    "latency.one_row": "One row",
    "throughput.batch": "Batch",
    "roc_auc": "AUC",
    "ece": "ECE",
    "decision_churn": "Decisions changed",
    "max_change": "Largest change",
}


def _on_one_line(cell: Cell) -> Cell:
    """Return value and interval, if any, on one line."""
    return (Line(text=" ".join(line.text for line in cell[:2] if line is cell[0] or line.text.startswith("["))),)


def _measured(row: EvaluatedVariant, name: str) -> Measurement | None:
    """Return the measurement with that name; for the worst slice, the one that the judge used."""
    if not name.startswith(_WORST):
        return row.evidence.find(name)
    return next(
        (rule_result.measurement for rule_result in row.verdict.rule_results if rule_result.rule.measure == name), None
    )


def _verdict(verdict: Verdict) -> Cell:
    """Return the answer against the baseline, and below it that of all rules where they differ."""
    answer = baseline_answer(verdict)
    every = ("all rules:", verdict.answer) if verdict.answer != answer else ()
    return (Line(text=VERDICT_MARKS[answer], style=answer), *(Line(text=text, style="quiet") for text in every))


def _against_limit(finding: Finding) -> Cell:
    if finding.measured is None:
        return (Line(text="no number", style="quiet"),)
    limit = (Line(text=f"limit {finding.limit:g}", style="quiet"),) if finding.limit is not None else ()
    whole = float(finding.measured).is_integer() and abs(finding.measured) >= 1
    text = f"{finding.measured:,.0f}" if whole else formatting.format_number(finding.measured)
    return (Line(text=text), *limit)


MOST = 5
"""Columns of an attack that are shown."""


def corruption_measurements(found: Sequence[Measurement], kind: str, name: str) -> list[Measurement]:
    """Return what was measured under `robustness.KIND.NAME`, most harmful first."""
    return sorted(
        (measurement for measurement in found if measurement.name == f"robustness.{kind}.{name}"),
        key=lambda measurement: -measurement.value,
    )


def tabulate_corruptions(found: Sequence[Measurement]) -> Table:
    """Tabulate each kind of corruption: the most costly one, and the worst one compared with the baseline."""
    told = [kind for kind in words.CORRUPTIONS if corruption_measurements(found, kind, "excess")]
    rows = tuple(_line(found, kind) for kind in told)
    titles = ("What goes wrong", "Error added, at most", "Decisions it changes", "Error beside the model as it came")
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def tabulate_attack(found: Sequence[Measurement]) -> Table:
    """Tabulate the columns through which decisions are turned most easily, easiest first."""
    alone = [measurement for measurement in found if measurement.name == "attack.column.success"]
    easiest = sorted(alone, key=lambda measurement: -measurement.value)[:MOST]
    beside = {
        measurement.slice: measurement for measurement in found if measurement.name == "attack.column.success.drop"
    }
    rows = tuple(
        (
            (Line(text=measurement.slice), Line(text="changed alone", style="quiet")),
            measurement_cell(replace(measurement, slice="")),
            measurement_cell(replace(beside[measurement.slice], slice="")) if measurement.slice in beside else (),
        )
        for measurement in easiest
    )
    titles = ("Who changes", "Decisions that it turns", "Beside the model as it came")
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _line(found: Sequence[Measurement], kind: str) -> tuple[Cell, ...]:
    added = corruption_measurements(found, kind, "excess")
    kinds = (Line(text=words.CORRUPTIONS[kind]), Line(text=f"worst of {len(added)}", style="quiet"))
    others = (corruption_measurements(found, kind, name) for name in ("changed_decisions", "drop"))
    return (kinds, measurement_cell(added[0]), *(measurement_cell(other[0]) if other else () for other in others))
