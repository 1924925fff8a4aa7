"""Tables as records: built once, laid out by terminal, report and card."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec.structs import replace

from headway.core import plugins
from headway.core.assessment import UNJUDGED
from headway.core.comparison import PointComparison
from headway.core.errors import PluginError
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.measure import main_measures_among, quality_measures
from headway.core.monitoring import GapDirection
from headway.core.record import Record
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchSummary
from headway.core.verdict import Answer, EvaluatedVariant, RuleResult, Verdict
from headway.data.check import unjudged_check
from headway.data.leakage.taxonomy import LeakageKind
from headway.evaluation.measures.robustness import CORRUPTIONS
from headway.optimization.screening import Answers, answers_of
from headway.registry.project import Saved
from headway.reporting import report_data
from headway.reporting.report_data import (
    JUDGE,
    ReleaseState,
    ReleaseStatus,
    ReportData,
    ReportPeriod,
    Stage,
    describe_end,
    describe_start,
)
from headway.reporting.text import formatting, words
from headway.reporting.text.formatting import one_line

Style = Answer | Literal["plain", "quiet", "strong"]
VERDICT_MARKS: dict[Answer, str] = {"pass": "✓ pass", "fail": "✗ fail", "undecided": "? undecided"}
KIND_STYLES: dict[str, Style] = {
    "found": "fail",
    "suspected": "undecided",
    "undecided": "undecided",
    "clear": "pass",
    "partly checked": "undecided",
    "not applicable": "quiet",
}
SEVERITIES: dict[str, Style] = {"stop": "fail", "warn": "undecided", "undecided": "undecided", "note": "plain"}
GAP_STYLES: dict[GapDirection, Style] = {
    "wider": "fail",
    "reversed": "fail",
    "narrower": "pass",
    "not shown": "quiet",
}
_CONCLUSIONS = {"harmful": "harmful", "nothing": "useless", "useless": "useless", "unsettled": "undecided"}


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

    The first column is the key that identifies rows when the others do not fit side by side. `notes` are sentences on
    the rows, one per row or none at all; an empty string stands for a row without a note.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    chosen: int = -1
    notes: tuple[str, ...] = ()


def make_table(
    titles: Sequence[str],
    rows: Iterable[tuple[Cell, ...]],
    *,
    folds: Collection[str] = (),
    chosen: int = -1,
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table with these column titles; the text of the columns in `folds` may be wrapped."""
    columns = tuple(Column(title=title, folds=title in folds) for title in titles)
    return Table(columns=columns, rows=tuple(rows), chosen=chosen, notes=notes)


def split_columns(table: Table, *, keys: int, max_columns: int) -> tuple[Table, ...]:
    """Return a table as several with at most `max_columns` columns each, under the same first `keys` columns.

    The notes stand below the last one.
    """
    rest = list(range(keys, len(table.columns)))
    count = -(-len(rest) // (max_columns - keys)) or 1
    size = -(-len(rest) // count) or 1
    blocks = [[*range(keys), *rest[start : start + size]] for start in range(0, len(rest), size)]
    parts = tuple(
        replace(
            table,
            columns=tuple(table.columns[index] for index in block),
            rows=tuple(tuple(row[index] for index in block) for row in table.rows),
            notes=table.notes if block is blocks[-1] else (),
        )
        for block in blocks
    )
    return parts or (table,)


def text_cell(text: str, style: Style = "plain") -> Cell:
    """Return a cell of one line."""
    return (Line(text=text, style=style),)


def measure_cell(measure: str) -> Cell:
    """Return a cell with the title of a measure above its name."""
    return Line(text=words.measure_title(measure), style="strong"), Line(text=measure, style="quiet")


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
    shown = _measures_of(judged)
    chosen = _index_of(judged, winner)
    rows = (
        (
            text_cell(str(index + 1)),
            text_cell(row.variant.name, "strong" if index == chosen else "plain"),
            _verdict(row.verdict),
            *(measurement_cell(_measured(row, name)) for name in shown),
        )
        for index, row in enumerate(judged)
    )
    titles = ("#", "Variant", "Verdict", *shown.values())
    notes = tuple((reasons or {}).get(row.variant.name, "") for row in judged)
    return make_table(titles, rows, folds=("Variant",), chosen=chosen, notes=notes)


def tabulate_searches(listed: Sequence[Saved[SearchSummary]]) -> Table:
    """Tabulate searches: number, digest, time, winner with its verdict and speedup, and the number of variants."""
    rows = (
        (
            text_cell(str(one.position), "quiet"),
            text_cell(formatting.short_digest(one.record.search), "strong"),
            text_cell(formatting.format_time(one.record.at)),
            text_cell(one.record.winner),
            text_cell(VERDICT_MARKS[one.record.answer], one.record.answer),
            measurement_cell(one.record.speedup),
            text_cell(describe_search(one.record), "quiet"),
        )
        for one in listed
    )
    titles = ("#", "Search", "Ended", "Winner", "Verdict", "Speedup", "Variants")
    return make_table(titles, rows, folds=("Winner", "Variants"))


def describe_search(summary: SearchSummary) -> str:
    """Return how many variants a search measured, how many it left out, and how long it took."""
    left_out = f", {summary.n_left_out:,} left out for lack of time" if summary.n_left_out else ""
    again = "evaluated again; " if summary.is_evaluation else ""
    count = f"{summary.n_evaluated:,} evaluated, {summary.n_screened_out:,} only timed{left_out}"
    return f"{again}{count}; {formatting.format_seconds(summary.seconds)}"


_SPEEDS = (
    *("latency.one_row", "throughput.batch", "cost.cpu_s.one_row", "cost.cpu_s.batch", "cost.per_million.one_row"),
    "cost.energy_j.one_row",
)


def tabulate_compared(found: PointComparison) -> Table:
    """Tabulate the measures of two models over all rows, each with the paired difference where there is one."""
    both = (found.first, found.second)
    shown = [name for name in (*quality_measures(), "threshold") if any(model.find(name) for model in both)]
    rows = (
        (
            text_cell(words.measure_title(name), "strong"),
            *(measurement_cell(model.find(name)) for model in both),
            _difference_cell(found.difference(f"{name}.drop")),
        )
        for name in shown
    )
    titles = ("Measure", "First", "Second", "The first is worse by")
    return make_table(titles, rows, folds=("Measure",))


def tabulate_speeds(found: PointComparison) -> Table:
    """Tabulate speed and cost of two models from their evidence, or as they were timed in turns."""
    both = (found.first, found.second)
    timed = [one for one in found.times.measurements if one.name == "latency.one_row"]
    rows = [
        (text_cell(words.measure_title(name), "strong"), *(measurement_cell(model.find(name)) for model in both))
        for name in _SPEEDS
        if any(model.find(name) for model in both)
    ]
    if timed:
        rows.append((text_cell("Latency of one row, timed in turns now", "strong"), *map(measurement_cell, timed)))
    return make_table(("Measure", "First", "Second"), rows, folds=("Measure",))


def tabulate_compared_privacy(found: PointComparison) -> Table:
    """Tabulate what callers can learn from two models, by the search or an audit; empty if it was not measured."""
    both = (found.first, found.second)
    names = [name for name in (*_PRIVACY, f"{_RECOGNIZED}.difference") if any(model.find(name) for model in both)]
    rows = (
        (text_cell(words.measure_title(name), "strong"), *(measurement_cell(model.find(name)) for model in both))
        for name in names
    )
    return make_table(("Measure", "First", "Second"), rows, folds=("Measure",))


def tabulate_flips(found: PointComparison, *, min_rows: int = 0) -> Table:
    """Tabulate decisions that differ: over all rows, then by slice of at least that many rows, largest share first."""
    by_slice = sorted(found.flips[1:], key=lambda flips: -flips.share.value if flips.share else 0.0)
    shown = (*found.flips[:1], *(flips for flips in by_slice if flips.n_rows >= min_rows))
    rows = (
        (
            text_cell(flips.slice or "all rows", "plain" if flips.slice else "strong"),
            measurement_cell(replace(flips.share, slice="") if flips.share else None),
            text_cell(f"{flips.n_flips:,} of {flips.n_rows:,}"),
            text_cell(f"{flips.n_first_right:,}"),
            text_cell(f"{flips.n_second_right:,}"),
            *((text_cell(f"{flips.n_first_positive:,}"),) if found.task == "binary" else ()),
        )
        for flips in shown
    )
    last = ("First says positive",) if found.task == "binary" else ()
    titles = ("Rows", "Decisions that differ", "Count", "Only the first is right", "Only the second is right", *last)
    return make_table(titles, rows, folds=("Rows",))


def tabulate_compared_slices(found: PointComparison, *, min_rows: int = 0) -> Table:
    """Tabulate each slice: how much worse the first model is, and the calibration of both."""
    drops = [one for one in found.differences if one.slice and one.name.endswith(".drop")]
    shown = sorted((one for one in drops if one.n_rows >= min_rows), key=lambda one: -one.value)
    rows = (
        (
            text_cell(one.slice, "strong"),
            _difference_cell(replace(one, slice="")),
            *(_bare_cell(model.find("calibration.bias", one.slice)) for model in (found.first, found.second)),
            text_cell(formatting.format_basis(one), "quiet"),
        )
        for one in shown
        if one.name == drops[0].name
    )
    measure = words.measure_title(drops[0].name.removesuffix(".drop")) if drops else "Error"
    titles = ("Slice", f"{measure}: the first is worse by", "First: observed − predicted", "Second", "On")
    return make_table(titles, rows, folds=titles)


def tabulate_reliability_pair(found: PointComparison) -> Table:
    """Tabulate the calibration curves: mean prediction and observed share of each bin, for both models."""
    bins = [one.slice for one in found.first.measurements if one.name == "reliability"]
    rows = (
        (
            text_cell(bin, "strong"),
            *(
                _bare_cell(model.find(name, bin))
                for model in (found.first, found.second)
                for name in ("reliability.predicted", "reliability")
            ),
        )
        for bin in bins
    )
    return make_table(("Bin", "First: predicted", "First: observed", "Second: predicted", "Second: observed"), rows)


def tabulate_examples(found: PointComparison) -> Table:
    """Tabulate the rows that two models decide differently, with their columns; personal data."""
    names = list(found.examples[0].columns) if found.examples else []
    rows = (
        (
            text_cell(row.label, "strong"),
            text_cell(formatting.format_number(row.first)),
            text_cell(formatting.format_number(row.second)),
            *(text_cell(one_line(row.columns[name])) for name in names),
        )
        for row in found.examples
    )
    return make_table(("Label", "Score of first", "Score of second", *names), rows)


def _difference_cell(found: Measurement | None) -> Cell:
    """Return a paired difference, marked where its interval is on one side of 0."""
    if found is None:
        return text_cell("not paired", "quiet")
    cell = measurement_cell(found)
    if found.low > 0 or found.high < 0:
        word = "worse" if found.low > 0 else "better"
        return (*cell, Line(text=f"shown to be {word}", style="fail" if found.low > 0 else "pass"))
    return cell


def tabulate_gain(baseline: EvaluatedVariant, winner: EvaluatedVariant | None, judged: EvaluatedVariant) -> Table:
    """Tabulate the winner next to the baseline, both on the validation rows, and the winner as judged on the test rows.

    `winner` is None if only the test rows are known.
    """
    changed = bool(judged.variant.steps)
    columns = {"Baseline": baseline, **({"Winner": winner} if winner and changed else {})}
    columns["On test"] = judged
    shown = {name: title for name, title in _measures_of(tuple(columns.values())).items() if _is_gain(name)}
    rows = (
        (
            text_cell(title, "strong"),
            *(
                measurement_cell(found) if (found := _measured(row, name)) or row is not judged else ()
                for row in columns.values()
            ),
        )
        for name, title in shown.items()
    )
    return make_table(("Measure", *columns), rows, folds=("Measure",))


def tabulate_variants_briefly(judged: Sequence[EvaluatedVariant], winner: EvaluatedVariant) -> Table:
    """Tabulate the variants, one line each: name, verdict, speed, and the deciding figures of their task."""
    main = _main_measures(judged, 2)  # a line holds no more
    changes = {name: title for name, title in _CHANGES.items() if any(_measured(row, name) for row in judged)}
    speed = {name: _TIMES[name] for name in ("latency.one_row", "throughput.batch")}
    shown = {**speed, **{name: words.column_title(name) for name in main}, **changes}
    rows = (
        (
            text_cell(str(number)),
            text_cell(row.variant.name),
            text_cell(VERDICT_MARKS[baseline_answer(row.verdict)], baseline_answer(row.verdict)),
            *(_brief_cell(_measured(row, name)) for name in shown),
        )
        for number, row in enumerate(judged, start=1)
    )
    return make_table(("#", "Variant", "Verdict", *shown.values()), rows, chosen=_index_of(judged, winner))


def tabulate_privacy(judged: Sequence[EvaluatedVariant], winner: EvaluatedVariant) -> Table:
    """Tabulate what callers can learn from the variants, the least first; empty if it was not measured.

    Of variants that answer alike, the first is shown, or the winner.
    """
    by_answers: dict[Answers, EvaluatedVariant] = {}
    for row in judged:
        if row.variant.digest == winner.variant.digest or answers_of(row.variant) not in by_answers:
            by_answers[answers_of(row.variant)] = row
    shown = [name for name in _PRIVACY if any(row.evidence.find(name) for row in by_answers.values())]
    measured = [row for row in by_answers.values() if any(row.evidence.find(name) for name in shown)]
    if not measured:
        return make_table((), ())
    measured.sort(key=lambda row: found.value if (found := row.evidence.find(shown[0])) else math.inf)
    difference = f"{_RECOGNIZED}.difference"
    rows = (
        (
            text_cell(row.variant.name),
            *(_brief_cell(row.evidence.find(name)) for name in shown),
            _brief_cell(found) if (found := row.evidence.find(difference)) else text_cell(""),
            _privacy_cell(row.verdict),
        )
        for row in measured
    )
    titles = ("Answers of", *(_PRIVACY[name] for name in shown), "Compared with the baseline", "Rules on privacy")
    return make_table(titles, rows, folds=("Answers of",), chosen=_index_of(measured, winner))


def _privacy_cell(verdict: Verdict) -> Cell:
    """Return the answer of the rules on privacy, the worst first; empty if there is none."""
    answers = [result.answer for result in verdict.rule_results if result.rule.private]
    worst = next((answer for answer in ("fail", "undecided", "pass") if answer in answers), None)
    return text_cell("") if worst is None else text_cell(VERDICT_MARKS[worst], worst)


def _index_of(judged: Sequence[EvaluatedVariant], winner: EvaluatedVariant | None) -> int:
    digests = [row.variant.digest for row in judged]
    return digests.index(winner.variant.digest) if winner and winner.variant.digest in digests else -1


def tabulate_rules(verdict: Verdict, *, groups: str = "groups") -> Table:
    """Tabulate a verdict rule by rule: measurement, limit, answer and explanation."""
    rows = (
        (
            measure_cell(rule_result.rule.measure),
            measurement_cell(rule_result.measurement, groups=groups),
            (Line(text=words.rule_limit(rule_result.rule)), *_bound_line(rule_result)),
            text_cell(VERDICT_MARKS[rule_result.answer], rule_result.answer),
            text_cell(rule_result.message, "quiet"),
        )
        for rule_result in verdict.rule_results
    )
    titles = ("Rule", "Measured", "Limit, and one-sided bound", "Answer", "Explanation")
    return make_table(titles, rows, folds=("Rule", "Limit, and one-sided bound", "Explanation"))


def _bound_line(rule_result: RuleResult) -> tuple[Line, ...]:
    """Return the one-sided bound that was compared with the limit, if there was one."""
    if rule_result.bound is None or rule_result.measurement is None:
        return ()
    bound = replace(rule_result.measurement, value=rule_result.bound, low=rule_result.bound, high=rule_result.bound)
    return (Line(text=f"bound {formatting.format_value(bound)}", style="quiet"),)


def tabulate_findings(found: Sequence[Finding]) -> Table:
    """Tabulate findings, most severe first: severity, what and where, the number with its limit, and the hint."""
    rows = (
        (
            text_cell(finding.code, "quiet"),
            text_cell(finding.severity, SEVERITIES[finding.severity]),
            (
                Line(text=one_line(finding.message)),
                *((Line(text=one_line(finding.where), style="quiet"),) if finding.where else ()),
            ),
            _against_limit(finding),
            text_cell(one_line(finding.hint), "quiet"),
        )
        for finding in sorted(found, key=lambda finding: list(SEVERITIES).index(finding.severity))
    )
    return make_table(("Code", "Severity", "Finding", "Measured", "What to do"), rows, folds=("Finding", "What to do"))


def tabulate_checks_not_run(found: Sequence[Finding]) -> Table:
    """Tabulate the checks that did not run: what each looks for, why it did not run, and what would let it run."""
    rows = (
        (
            _check_cell(unjudged_check(finding)),
            text_cell(one_line(finding.reason or finding.message)),
            text_cell(one_line(finding.hint or "nothing, with these data"), "quiet"),
        )
        for finding in sorted(found, key=lambda finding: not finding.hint)
        if finding.code == UNJUDGED
    )
    titles = ("Check", "Why it did not run", "What to do")
    return make_table(titles, rows, folds=titles)


def _check_cell(check: str) -> Cell:
    """Return the name of a check, with what it looks for if it is installed."""
    description = describe_check(check).rstrip(".")
    under = (Line(text=one_line(description), style="quiet"),) if description else ()
    return (Line(text=one_line(check), style="strong"), *under)


def describe_check(check: str) -> str:
    """Return what a check looks for; empty if it is not installed: a stored assessment may name any check."""
    try:
        return plugins.describe("check", check) if check in plugins.names("check") else ""
    except (PluginError, ImportError):  # registered by a package whose module is gone
        return ""


def tabulate_leakage(found: Sequence[LeakageKind]) -> Table:
    """Tabulate the eight kinds of leakage, each with its answer and the reason."""
    rows = (
        (
            text_cell(kind.name, "strong"),
            text_cell(kind.answer, KIND_STYLES[kind.answer]),
            text_cell(one_line(kind.why)),
        )
        for kind in found
    )
    return make_table(("Kind of leakage", "Answer", "Why"), rows, folds=("Kind of leakage", "Why"))


def tabulate_measurements(found: Sequence[Measurement], *, groups: str = "groups") -> Table:
    """Tabulate measurements with interval, rows and groups."""
    rows = (
        (
            measure_cell(measurement.name),
            text_cell(formatting.format_measurement(measurement)),
            text_cell(formatting.format_basis(measurement, groups), "quiet"),
        )
        for measurement in found
    )
    return make_table(("Measure", "Measured", "On"), rows, folds=("Measure",))


def tabulate_ablation(found: Sequence[Measurement], audit: str) -> Table:
    """Tabulate what an audit measured without each component or feature, and its conclusion."""
    measured: dict[tuple[str, str], Measurement] = {}
    conclusions: dict[str, str] = {}
    for measurement in found:
        if measurement.name.startswith(f"{audit}.") and measurement.slice:
            conclusion = _CONCLUSIONS.get(measurement.name.removeprefix(f"{audit}."))
            conclusions.setdefault(measurement.slice, "")
            if conclusion is None:
                measured[measurement.name, measurement.slice] = measurement
            else:
                conclusions[measurement.slice] = conclusion
    names = list(dict.fromkeys(name for name, _ in measured))
    rows = (
        (
            text_cell(part, "strong"),
            *(_bare_cell(measured[name, part]) if (name, part) in measured else () for name in names),
            text_cell(conclusion, "undecided"),
        )
        for part, conclusion in conclusions.items()
    )
    first = "Feature" if audit == "ablation" else "Component"
    return make_table((first, *map(words.measure_title, names), "Conclusion"), rows, folds=(first,))


_SECONDS = len("2026-11-24T18:38:43")


def tabulate_history(moves: Sequence[PointerUpdate]) -> Table:
    """Tabulate pointer updates, oldest first: time, pointer, release, who, verdict and why."""
    rows = (
        (
            text_cell(move.at[:_SECONDS]),
            text_cell(f"{move.name}@{move.pointer} {move.number}"),
            text_cell(formatting.short_digest(move.release) or "withdrawn"),
            text_cell("the judge" if move.who == JUDGE else move.who),
            text_cell(_verdict_word(move.answer, move.who), "undecided" if move.answer == "override" else "plain"),
            text_cell(move.why),
        )
        for move in moves
    )
    return make_table(("When (UTC)", "Pointer, update", "Release", "Who", "Verdict", "Why"), rows, folds=("Why",))


_RELEASE_STYLES: dict[ReleaseStatus, Style] = {
    "live": "pass",
    "canary": "undecided",
    "before": "plain",
    "rolled back": "fail",
    "withdrawn": "undecided",
}


def tabulate_releases(found: Sequence[ReleaseState]) -> Table:
    """Tabulate the releases: what each is now, since when, by whom and why, and how it ended; an override as such."""
    rows = (
        (
            (Line(text=state.name, style="strong"), Line(text=formatting.short_digest(state.release), style="quiet")),
            text_cell(state.status, "undecided" if state.answer == "override" else _RELEASE_STYLES[state.status]),
            (Line(text=formatting.format_time(state.at)), *_until(state)),
            text_cell(_verdict_word(state.answer, state.who), "undecided" if state.answer == "override" else "plain"),
            (Line(text=one_line(describe_start(state))), *_end_line(state)),
        )
        for state in found
    )
    titles = ("Release", "Now", "When", "Verdict", "Who and why")
    return make_table(titles, rows, folds=("Release", "Who and why"))


def _end_line(state: ReleaseState) -> tuple[Line, ...]:
    end = describe_end(state)
    return (Line(text=one_line(end)),) if end else ()


def _until(state: ReleaseState) -> tuple[Line, ...]:
    return (Line(text=f"until {formatting.format_time(state.until)}", style="quiet"),) if state.until else ()


def _verdict_word(answer: str, who: str) -> str:
    """Return the answer of the judge, `override` of a person, or `by hand` for an update without a verdict.

    The judge acts by itself on a rollout: back without a verdict of its own, which is not by hand.
    """
    if answer == "override":
        return "override"
    return answer or ("the judge" if who == JUDGE else "by hand")


def measurement_cell(measurement: Measurement | None, *, groups: str = "") -> Cell:
    """Return a measurement as a cell: value, then interval or rows; `groups` asks for both."""
    if measurement is None:
        return text_cell("not measured", "quiet")
    interval, basis = formatting.format_interval(measurement), formatting.format_basis(measurement, groups or "groups")
    under = [interval, measurement.slice, basis if groups else "" if interval else f"{measurement.n_rows:,} rows"]
    quiet = (Line(text=text, style="quiet") for text in under if text)
    return (Line(text=formatting.format_value(measurement)), *quiet)


def _bare_cell(measurement: Measurement | None, *, groups: str = "") -> Cell:
    """Return the cell of a measurement whose slice its row already names."""
    return measurement_cell(replace(measurement, slice="") if measurement else None, groups=groups)


_WORST = "worst_slice."
_RECOGNIZED = "privacy.membership.tpr_1pct"
_PRIVACY = {
    _RECOGNIZED: "Training rows recognized",
    "privacy.inversion.error": "Error of a rebuilt row",
    "extraction.queries_95": "Queries that copy it",
}
"""What callers can learn from answers, measured where a rule or `[optimize] private` asks for it."""
_TIMES = {
    "latency.one_row": "One row",
    "latency.speedup": "Speedup",
    "throughput.batch": "Batch",
    "cost.per_million.one_row": "Cost per million",
    "cost.cpu_s.one_row": "CPU s per million",
}
_CHANGES = {"decision_churn": "Decisions changed", "max_change": "Largest change", **_PRIVACY}


def _main_measures(judged: Iterable[EvaluatedVariant], first: int) -> list[str]:
    """Return those of the first main measures of their task that some variant has."""
    names = set[str]().union(*(row.evidence.names() for row in judged))
    return main_measures_among(names, first=first)


def _measures_of(judged: Sequence[EvaluatedVariant]) -> dict[str, str]:
    """Return the measures that distinguish variants, with their titles: speed, quality, what is lost, and privacy."""
    main = _main_measures(judged, 3)
    lost = {f"{name}.drop": words.measure_title(f"{name}.drop") for name in main[:1]}
    rules = (result.rule.measure for row in judged for result in row.verdict.rule_results)
    in_slices = {
        name: f"{words.measure_title(name.removeprefix(_WORST))}, worst slice"
        for name in rules
        if name.startswith(_WORST) and name.endswith(".drop")
    }
    titles = {**_TIMES, **{name: words.column_title(name) for name in main}, **lost, **in_slices, **_CHANGES}
    return {name: title for name, title in titles.items() if any(_measured(row, name) for row in judged)}


def _is_gain(name: str) -> bool:
    """Return whether a measure is of one model.

    What is lost against the baseline is in the verdict, what is gained in the last lines. CPU time is compared there
    only: that of a baseline whose threads wait for busy cores would give another ratio here.
    """
    return not name.endswith((".drop", "speedup")) and name != "cost.cpu_s.one_row"


def _brief_cell(measurement: Measurement | None) -> Cell:
    """Return value and interval, if any, on one line."""
    if measurement is None:
        return text_cell("not measured")
    known = formatting.has_interval(measurement)
    return text_cell(formatting.format_measurement(measurement) if known else formatting.format_value(measurement))


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
    overall = ("all rules:", verdict.answer) if verdict.answer != answer else ()
    return (Line(text=VERDICT_MARKS[answer], style=answer), *(Line(text=text, style="quiet") for text in overall))


def _against_limit(finding: Finding) -> Cell:
    if finding.measured is None:
        return text_cell("no number", "quiet")
    limit = (Line(text=f"limit {finding.limit:g}", style="quiet"),) if finding.limit is not None else ()
    counted = float(finding.measured).is_integer() and abs(finding.measured) >= 1
    text = f"{finding.measured:,.0f}" if counted else formatting.format_number(finding.measured)
    return (Line(text=text), *limit)


MAX_COLUMNS = 5
"""Columns of an attack that are shown."""


def corruption_measurements(found: Sequence[Measurement], kind: str, name: str) -> list[Measurement]:
    """Return what was measured under `robustness.KIND.NAME`, most harmful first."""
    return sorted(
        (measurement for measurement in found if measurement.name == f"robustness.{kind}.{name}"),
        key=lambda measurement: -measurement.value,
    )


def tabulate_corruptions(found: Sequence[Measurement]) -> Table:
    """Tabulate each kind of corruption: the most costly one, and the worst one compared with the baseline."""
    kinds = (kind for kind in CORRUPTIONS if corruption_measurements(found, kind, "excess"))
    titles = ("Corruption", "Increase of the error, at most", "Decisions changed", "Error compared with the baseline")
    return make_table(titles, (_corruption_row(found, kind) for kind in kinds))


def _corruption_row(found: Sequence[Measurement], kind: str) -> tuple[Cell, ...]:
    added = corruption_measurements(found, kind, "excess")
    kinds = (Line(text=CORRUPTIONS[kind]), Line(text=f"worst of {len(added)}", style="quiet"))
    others = (corruption_measurements(found, kind, name) for name in ("changed_decisions", "drop"))
    return (kinds, measurement_cell(added[0]), *(measurement_cell(other[0]) if other else () for other in others))


def tabulate_attack(found: Sequence[Measurement]) -> Table:
    """Tabulate the columns through which decisions are flipped most easily, easiest first."""
    alone = [measurement for measurement in found if measurement.name == "attack.column.success"]
    losses = {
        measurement.slice: measurement for measurement in found if measurement.name == "attack.column.success.drop"
    }
    rows = (
        (
            (Line(text=measurement.slice), Line(text="changed alone", style="quiet")),
            _bare_cell(measurement),
            _bare_cell(losses[measurement.slice]) if measurement.slice in losses else (),
        )
        for measurement in sorted(alone, key=lambda measurement: -measurement.value)[:MAX_COLUMNS]
    )
    return make_table(("Column", "Decisions flipped", "Compared with the baseline"), rows)


def tabulate_months(report: ReportData) -> Table:
    """Tabulate the measures by month, for the winner and, where measured, the baseline."""
    months = report_data.month_labels(report)
    series = [
        (measure, live)
        for measure in report_data.monthly_measures(report)
        for live in (True, False)
        if any(report_data.month_measurement(report, label, measure, live=live) for label in months)
    ]
    titles = [f"{words.measure_symbol(measure)}, {report.word if live else 'baseline'}" for measure, live in series]
    rows = (
        (
            _month(report, label),
            *(
                measurement_cell(report_data.month_measurement(report, label, measure, live=live))
                for measure, live in series
            ),
        )
        for label in months
    )
    return make_table(("Month", *titles), rows)


def _month(report: ReportData, label: str) -> Cell:
    name = Line(text=formatting.period_name(label))
    span = report_data.split_period_of(report, label)
    return (name, Line(text=span, style="quiet")) if span else (name,)


def tabulate_windows(report: ReportData) -> Table:
    """Tabulate each period: the live release, rows, measured and estimated quality, and drift."""
    found = report_data.list_periods(report)
    measures = report_data.period_measures(report)[:3]
    estimated = [name for name in measures if any(period.estimate(name) for period in found)]
    rows = (
        (
            text_cell(formatting.period_name(period.label)),
            *_window_cells(report, period),
            *(_known_cell(period.find(name)) for name in measures),
            *(_known_cell(period.estimate(name)) if period.watch else () for name in estimated),
        )
        for period in found
    )
    titles = ("Period", "Live", "Rows", "Inputs", *map(words.column_title, measures))
    return make_table((*titles, *(f"{words.column_title(name)} before labels" for name in estimated)), rows)


def tabulate_gaps(report: ReportData) -> Table:
    """Tabulate the gaps of sensitive groups by period, when the release was judged and then, in points of 100."""
    rows = (
        (
            text_cell(formatting.period_name(watch.period)),
            text_cell(gap.group, "strong"),
            text_cell(words.measure_title(gap.measure)),
            *(_points_cell(found) for found in (gap.before, gap.now, gap.change)),
            text_cell(gap.direction, GAP_STYLES[gap.direction]),
        )
        for watch in (report.year.watches if report.year else ())
        for gap in watch.bias
    )
    titles = (
        "Period",
        "Group",
        "Rate, minus that of the others",
        "When judged",
        "In the period",
        "Change",
        "Direction",
    )
    return make_table(titles, rows, folds=("Rate, minus that of the others",))


def _points_cell(found: Measurement) -> Cell:
    """Return a difference of rates in points of 100, with its sign and interval."""
    value, low, high = (f"{number * 100:+.1f}" for number in (found.value, found.low, found.high))
    return Line(text=f"{value} points"), Line(text=f"[{low}, {high}]", style="quiet")


def _window_cells(report: ReportData, period: ReportPeriod) -> tuple[Cell, Cell, Cell]:
    """Return three cells: the live release (or the period's use before), the rows with known outcome, and drift."""
    seen = period.watch
    if seen is None:
        count = max((measurement.n_rows for measurement in period.measured), default=0)
        return text_cell(report_data.describe_use(report, period.label), "quiet"), text_cell(f"{count:,}"), ()
    name = report.year.names.get(seen.release, "") if report.year else ""
    live = (Line(text=name or "live"), Line(text=formatting.short_digest(seen.release), style="quiet"))
    rows = (Line(text=f"{seen.n_rows:,}"), Line(text=f"{seen.n_labeled:,} labeled", style="quiet"))
    if seen.drift is None:
        return live, rows, text_cell("unknown" if seen.is_complete else "not over yet", "quiet")
    p = next(
        measurement.value
        for measurement in seen.drift.measurements
        if measurement.name == "drift.p" and not measurement.slice
    )
    moved = Line(text="drift", style="undecided") if seen.drift.alarm else Line(text="no drift shown")
    return live, rows, (moved, Line(text=f"p {p:.2g}", style="quiet"))


def _known_cell(found: Measurement | None) -> Cell:
    return measurement_cell(found) if found else text_cell("unknown", "quiet")


def tabulate_reliability(evidence: Evidence) -> Table:
    """Tabulate the reliability curve: predicted probability and observed share with its interval."""
    rows = (
        (
            text_cell(seen.slice.removeprefix("bin ")),
            _bare_cell(evidence.find("reliability.predicted", seen.slice)),
            _bare_cell(seen),
            text_cell(f"{seen.n_rows:,}"),
        )
        for seen in evidence.measurements
        if seen.name == "reliability"
    )
    return make_table(("Bin", "Predicted, mean", "Observed", "Rows"), rows)


def tabulate_slices(found: Sequence[Measurement], groups: str) -> Table:
    """Tabulate the loss of each slice with its rows and groups."""
    rows = (
        (
            text_cell(measurement.slice),
            _bare_cell(measurement),
            text_cell(f"{measurement.n_rows:,}"),
            text_cell(f"{measurement.n_groups:,}"),
        )
        for measurement in found
    )
    loss = words.measure_title(found[0].name) if found else "Loss"
    return make_table(("Slice", loss, "Rows", groups.capitalize()), rows)


def tabulate_parts(found: Sequence[Measurement], groups: str, *, first: str = "Slice") -> Table:
    """Tabulate measurements by slice, with rows and groups; the slice of all rows is called `all`."""
    rows = (
        (
            text_cell(measurement.slice or "all"),
            text_cell(words.measure_title(measurement.name)),
            _bare_cell(measurement, groups=groups),
        )
        for measurement in found
    )
    return make_table((first, "Measure", "Measured"), rows)


def tabulate_against_baseline(found: Sequence[Measurement], baseline: Evidence | None, groups: str) -> Table:
    """Tabulate measurements of the winner next to those of the baseline where there are any."""
    others = () if baseline is None else (baseline,)
    rows = (
        (
            measure_cell(measurement.name),
            measurement_cell(measurement, groups=groups),
            *(measurement_cell(other.find(measurement.name), groups=groups) for other in others),
        )
        for measurement in found
    )
    return make_table(("Measure", "This model", "Baseline")[: 2 + len(others)], rows)


def tabulate_stages(found: Sequence[Stage]) -> Table:
    """Tabulate the time of each stage, and the total."""
    total = Stage(name="all", seconds=sum(stage.seconds for stage in found))
    rows = ((text_cell(stage.name), text_cell(formatting.format_number(stage.seconds))) for stage in (*found, total))
    return make_table(("Stage", "Seconds"), rows, folds=("Stage",), chosen=len(found))
