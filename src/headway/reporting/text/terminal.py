"""Tables for the terminal: complete numbers and words at any width, with colours where available."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from headway.core.assessment import UNJUDGED
from headway.core.comparison import PointComparison
from headway.core.evidence import Finding
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.data.check import DECLARED, unjudged_check
from headway.data.leakage.taxonomy import summarize_leakage
from headway.optimization.search import LossGroup, group_losses
from headway.reporting.report_data import Replay, ReportData
from headway.reporting.summary import OBJECTIVE, OutcomeLine, describe_replay, outcome_lines, summary_answers
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.speeds import describe_search_speeds
from headway.reporting.text.tables import Column, Line, Style, Table, text_cell

FOLDED = 22
"""Minimum width of a text column in characters; if that does not fit, columns continue below."""
GAP = 2
"""Characters between two columns, one of which is the table's own line, which is blank."""
_ABLATIONS = ("components", "ablation")
_STYLES: dict[Style, str] = {
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
    "plain": "",
    "quiet": "dim",
    "strong": "bold",
}


class TerminalTable:
    """A table that fits the available width: text wraps, nothing is cut, surplus columns continue below."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for columns in _blocks(self.table, options.max_width):
            yield _table(self.table, columns)
        if any(self.table.notes):
            yield _table(_of_notes(self.table), [0, 1])


def render_search(
    search: SearchResult,
    *,
    objective: str = OBJECTIVE,
    next_command: str = "",
    command: str = "headway optimize",
    override_command: str = "",
) -> Group:
    """Render the result of a search: why the others lost, and at the end the winner, its gain, verdict and next step.

    Parameters
    ----------
    objective : str
        The measure that the search minimized.
    next_command : str
        Command to run after a pass.
    command : str
        The command of this search, to propose it again with more time.
    override_command : str
        Command that releases a winner that did not pass; empty if there is none.
    """
    winner = search.row(search.winner.variant.digest)
    found = TerminalTable(tables.tabulate_gain(search.evaluated_baseline, winner, search.winner))
    lines = outcome_lines(search, next_command=next_command, command=command, override_command=override_command)
    privacy = tables.tabulate_privacy(search.evaluated, search.winner)
    attacked: list[RenderableType] = [Text(), TerminalTable(privacy), Text()] if privacy.rows else []
    return Group(found, *attacked, _losses(group_losses(search, objective)), _outcome(lines))


def render_comparison(found: PointComparison) -> Group:
    """Render two models next to each other: measures, flips, slices, calibration, speed and rows."""
    head = [
        f"first:  {found.first.name}",
        f"second: {found.second.name}",
        f"on {found.n_rows:,} rows of {found.period}, {found.n_groups:,} groups; differences are paired by group",
    ]
    parts = [
        tables.tabulate_compared(found),
        tables.tabulate_flips(found),
        tables.tabulate_compared_slices(found),
        tables.tabulate_speeds(found),
        tables.tabulate_compared_privacy(found),
        tables.tabulate_examples(found),
    ]
    busy = [f"calls were not timed: {found.times.busy}"] if found.times.busy else []
    missing = [f"not compared: {finding.message}" for finding in found.findings]
    cautions = [f"caution: {caution}" for caution in found.cautions]
    return Group(*head, *cautions, *(TerminalTable(part) for part in parts if part.rows), *busy, *missing)


def _losses(groups: Sequence[LossGroup]) -> RichTable:
    """Return one line for each reason, with the number of variants and the fastest of them."""
    count = sum(len(group.names) for group in groups)
    rich_table = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, GAP, 0, 0))
    rich_table.add_column(justify="right", no_wrap=True)
    rich_table.add_column()
    if groups:
        rich_table.add_row(Text(f"{count}", style="bold"), Text("not chosen, by reason", style="bold"))
    for group in groups:
        such = f" ({'such as ' if len(group.names) > 1 else ''}{group.names[0]})"
        rich_table.add_row(f"{len(group.names)}", Text(group.reason) + Text(such, style="dim"))
    return rich_table


def _outcome(lines: Sequence[OutcomeLine]) -> RichTable:
    rich_table = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, GAP, 0, 0))
    rich_table.add_column(no_wrap=True)
    rich_table.add_column()
    rich_table.add_row()
    for line in lines:
        rich_table.add_row(Text(line.label), Text(line.text, style=_STYLES[line.style]))
    return rich_table


def render_search_briefly(search: SearchResult, *, groups: str = "groups") -> Group:
    """Render the variants, one line each, and the rows they were evaluated on."""
    seen = search.evaluated_baseline.evidence.find("roc_auc")
    basis = f"{len(search.evaluated)} variants" + (
        f", evaluated on {formatting.format_basis(seen, groups)}" if seen else ""
    )
    basis += f"; {len(search.screened_out)} more screened out by their speed" if search.screened_out else ""
    table = TerminalTable(tables.tabulate_variants_briefly(search.evaluated, search.winner))
    return Group(Text(basis), table, *map(Text, describe_search_speeds(search)))


def render_rules(verdict: Verdict, *, groups: str = "groups") -> TerminalTable:
    """Render a verdict rule by rule; `groups` is the word for dependent rows."""
    return TerminalTable(tables.tabulate_rules(verdict, groups=groups))


def render_evaluation(judged: EvaluatedVariant) -> Group:
    """Render an evaluation: verdict, measurements over all rows and by part, and findings."""
    evidence = judged.evidence
    overall = [measurement for measurement in evidence.measurements if not measurement.slice]
    parts = len(evidence.measurements) - len(overall)
    found = [render_findings(evidence.findings)] if evidence.findings else []
    parts_tables = (tables.tabulate_ablation(evidence.measurements, audit) for audit in _ABLATIONS)
    ablations = [TerminalTable(table) for table in parts_tables if table.rows]
    more = [Text(f"{parts} more by slice and bin: headway report, or --json")] if parts else []
    stress_tables = (tables.tabulate_corruptions(evidence.measurements), tables.tabulate_attack(evidence.measurements))
    stress = [TerminalTable(table) for table in stress_tables if table.rows]
    return Group(
        render_rules(judged.verdict),
        TerminalTable(tables.tabulate_measurements(overall)),
        *stress,
        *more,
        *ablations,
        *found,
    )


def render_findings(found: Sequence[Finding]) -> TerminalTable:
    """Render the findings of data checks with their hints."""
    return TerminalTable(tables.tabulate_findings(found))


def render_check(found: Sequence[Finding], *, n_checks: int = 0) -> Group:
    """Render findings, the eight kinds of leakage, and the checks that did not run.

    Notes that repeat a declaration are left out. `n_checks` is the number of all checks.
    """
    shown = [finding for finding in found if finding.code not in (UNJUDGED, *DECLARED)]
    parts: list[RenderableType] = [TerminalTable(tables.tabulate_findings(shown))] if shown else []
    return Group(*parts, *(Text(line) for line in (*_leakage_lines(found), *_lines_not_run(found, n_checks))))


def _leakage_lines(found: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for each result, with the kinds of leakage that have it; reasons are in the findings and reports."""
    kinds = summarize_leakage(found)
    for answer in tables.KIND_STYLES:
        names = [
            f"{kind.name} ({', '.join(kind.not_run)} did not run)" if answer == "partly checked" else kind.name
            for kind in kinds
            if kind.answer == answer
        ]
        if names:
            yield f"leakage, {answer}: {'; '.join(names)}"


def _lines_not_run(found: Sequence[Finding], n_checks: int) -> Iterator[str]:
    """Yield one line on the checks that did not run."""
    names = [unjudged_check(finding) for finding in found if finding.code == UNJUDGED]
    if names:
        of_all = f" of {n_checks}" if n_checks else ""
        yield (
            f"{len(names)}{of_all} checks did not run, which is not a pass: {', '.join(names)} "
            "(why: headway check --report check.html)"
        )


def render_summary(report: ReportData) -> RichTable:
    """Render the answers at the top of a report: what is live, does it meet the policy, how much faster is it."""
    rich_table = RichTable(box=None, pad_edge=False, show_header=False, padding=(0, GAP, 1, 0))
    rich_table.add_column(no_wrap=True)
    rich_table.add_column(overflow="fold")
    for reply in summary_answers(report):
        style: Style = "strong" if reply.style == "plain" else reply.style
        rich_table.add_row(Text(reply.question), _text((Line(text=reply.answer, style=style), Line(text=reply.detail))))
    return rich_table


def render_replay(replay: Replay) -> Text:
    """Render the result of a replay over HTTP: sentences, the largest difference and request times."""
    lines = [
        Line(text=describe_replay(replay)),
        Line(text=f"largest difference from the baseline: {formatting.format_number(replay.largest_difference)}"),
        *(
            Line(text=f"{words.measure_title(time.name)}: {formatting.format_measurement(time)}")
            for time in (replay.p50, replay.p99)
            if time is not None
        ),
    ]
    return _text(lines)


def render_release(update: PointerUpdate, key_created: bool) -> Text:
    """Render a release: the pointer update with its number and reason, and a new key if one was created."""
    lines = [
        Line(
            text=f"{update.name}@{update.pointer} is now release {formatting.short_digest(update.release)}",
            style="strong",
        ),
        Line(text=f"update {update.number} of this pointer, by {update.who}: {update.why}"),
        Line(text="a publisher key was created on this machine and pinned as trusted" if key_created else ""),
        Line(text=f"next: headway serve {update.name}@{update.pointer}, or headway history"),
    ]
    return _text(lines)


def render_history(updates: Sequence[PointerUpdate]) -> TerminalTable:
    """Render pointer updates, oldest first."""
    return TerminalTable(tables.tabulate_history(updates))


def _blocks(table: Table, width: int) -> Iterator[list[int]]:
    """Yield the columns of each block; every column after the key starts a new block when it no longer fits."""
    needed = [_min_width(table, index) + GAP for index in range(len(table.columns))]
    block = [0]
    for index in range(1, len(needed)):
        if len(block) > 1 and sum(needed[shown] for shown in (*block, index)) > width:
            yield block
            block = [0]
        block.append(index)
    yield block


def _min_width(table: Table, index: int) -> int:
    """Return the minimum width of a column that keeps its numbers whole."""
    column = table.columns[index]
    texts = [line.text for row in table.rows for line in row[index]]
    widest = max(map(len, (*column.title.split(), *texts)), default=0)
    return min(widest, FOLDED) if column.folds else widest


def _of_notes(table: Table) -> Table:
    """Return the notes of a table as a table of their own, under the same keys."""
    rows = tuple((row[0], text_cell(note, "quiet")) for row, note in zip(table.rows, table.notes, strict=True) if note)
    return Table(columns=(table.columns[0], Column(title="Why it lost", folds=True)), rows=rows)


def _table(table: Table, columns: Sequence[int]) -> RichTable:
    rich_table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for index in columns:
        width = _min_width(table, index)
        rich_table.add_column(Text(table.columns[index].title), overflow="fold", min_width=width, vertical="top")
    for number, row in enumerate(table.rows):
        style = "on grey15" if number == table.chosen else ""
        rich_table.add_row(*(_text(row[index]) for index in columns), style=style)
    rich_table.add_row()
    return rich_table


def _text(lines: Sequence[Line]) -> Text:
    return Text("\n").join(Text(line.text, style=_STYLES[line.style]) for line in lines if line.text)
