"""Monitor the live release: drift, quality with and without labels, cost, and whether to retrain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from headway import pipeline
from headway.cli.exit_codes import of_watches
from headway.cli.main import ProjectFolder
from headway.core.measure import main_measures_among
from headway.core.monitoring import MonitoringReport, MonitoringStatus, RowSource
from headway.monitoring.alerts.deliver import start_delivery
from headway.monitoring.bias import describe_gap
from headway.monitoring.degradation import HARMFUL
from headway.monitoring.monitor import ESTIMATE_NOT_POSSIBLE
from headway.registry.project import open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.report_data import ESTIMATED
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Cell, Column, Line, Style, Table, measurement_cell
from headway.reporting.text.terminal import TerminalTable

STYLES: dict[MonitoringStatus, Style] = {
    "healthy": "pass",
    "drifted": "plain",
    "degraded": "fail",
    "unknown": "undecided",
}
NO_WINDOW = "no window with at least 20 groups (such as days) has begun since the live release was judged"


def plugin(
    *,
    until: datetime | None = None,
    every: str = "1mo",
    source: RowSource = "table",
    follow: bool = False,
    interval: float = 60.0,
    project: ProjectFolder = Path("."),
    json: bool = False,
) -> int:
    """Report on each window since the live release was judged.

    The certificate of a release that answers selectively is audited first, by labels of drawn answers, and withdrawn
    where they break it.

    Exit 0 not degraded, 1 the last one is degraded, 3 unknown.

    Example: headway watch --project headway-demo --until 2013-10-02

    Parameters
    ----------
    until
        Report as of this time, with the labels that had arrived; default: now.
    every
        Length of a window: 1mo, 1q, 28d; for the log also 1d or 1h.
    source
        Rows to read: the project's table, or the log of served answers, joined with labels by key.
    follow
        Repeat and print only what is new, until Ctrl-C.
    interval
        Seconds between two reports with --follow.
    json
        Print one JSON object; with --follow, one for each new report.
    """
    opened = open_project(project)

    def report() -> list[MonitoringReport]:
        audit = pipeline.audit_certificate(opened)
        if audit is not None:
            print_status(f"Certificate: {audit.message}.")
        return pipeline.watch(opened, until=until, every=every, source=source, callback=print_status)

    def show(found: Sequence[MonitoringReport]) -> None:
        print_result(found, watches_table(found), json=json)
        start_delivery(opened.config)

    if follow:
        return of_watches(follow_reports(report, show, interval_s=interval, wait=time.sleep))
    found = report()
    show(found)
    return of_watches(found)


def follow_reports(
    report: Callable[[], list[MonitoringReport]],
    show: Callable[[Sequence[MonitoringReport]], None],
    *,
    interval_s: float,
    wait: Callable[[float], object],
) -> list[MonitoringReport]:
    """Report repeatedly with a wait in between, show what is new, and return the last reports upon Ctrl-C.

    A report is new if its window is new, has ended, was judged or opened a ticket; growing counts of an open window are
    not news, and an open ticket is none again.
    """
    known: dict[tuple[str, str], object] = {}
    found: list[MonitoringReport] = []
    try:
        while True:
            found = report()
            news = [
                watch for watch in found if watch.ticket or known.get((watch.release, watch.since)) != _state(watch)
            ]
            known |= {(watch.release, watch.since): _state(watch) for watch in news}
            if news:
                show(news)
            wait(interval_s)
    except KeyboardInterrupt:
        return found


def _state(watch: MonitoringReport) -> object:
    return watch.is_complete, watch.status, watch.answers


def watches_table(found: Sequence[MonitoringReport]) -> RenderableType:
    """Return a table of the windows with their measures, a sentence on each, and what could not be answered."""
    if not found:
        return Text(NO_WINDOW)
    measures = _measures(found)
    titles = ("Window", "Status", "Rows", "Inputs", *measures.values(), "Cost against when judged")
    rows = tuple(_row(watch, measures) for watch in found)
    table = Table(columns=tuple(Column(title=title) for title in titles), rows=rows)
    sentences = [Text(watch.message) for watch in found]
    unknown = [Text(f"{watch.period}: {reason}", style="dim") for watch in found for reason in _unknown(watch)]
    tickets = [Text(f"ticket: {watch.ticket.message}") for watch in found if watch.ticket]
    gaps = [Text(f"{watch.period}: {line}") for watch in found for line in _gaps(watch)]
    return Group(TerminalTable(table), *sentences, *gaps, *unknown, *tickets)


def _measures(reports: Sequence[MonitoringReport]) -> dict[str, str]:
    """Return up to three main measures with their titles, and the first of them as it is estimated before labels."""
    names = {
        measured.name.removesuffix(ESTIMATED) for watch in reports for measured in (*watch.quality, *watch.estimated)
    }
    main = main_measures_among(names)[:3]
    estimated = {f"{name}{ESTIMATED}": f"{words.column_title(name)}, estimated before labels" for name in main[:1]}
    return {name: words.column_title(name) for name in main} | {
        name: title for name, title in estimated.items() if any(watch.find(name) for watch in reports)
    }


def _gaps(watch: MonitoringReport) -> list[str]:
    """Return the gaps between groups of people that changed, which the message does not name, or else the largest."""
    changed = [gap for gap in watch.bias if gap.direction != "not shown"]
    largest = sorted(watch.bias, key=lambda gap: -abs(gap.now.value))[:1]
    return [f"{describe_gap(gap)}: {gap.direction}" for gap in changed or largest if gap.direction not in HARMFUL]


def _unknown(watch: MonitoringReport) -> list[str]:
    """Return the unanswered questions; once labels answer, the missing estimate without labels is left out."""
    answered = watch.reply("degradation") is not None
    return [part.message for part in watch.unknown if not (answered and part.code == ESTIMATE_NOT_POSSIBLE)]


def _row(watch: MonitoringReport, measures: Iterable[str]) -> tuple[Cell, ...]:
    return (
        (Line(text=watch.period),),
        (Line(text=watch.status, style=STYLES[watch.status]),),
        (Line(text=f"{watch.n_rows:,}"), Line(text=f"{watch.n_labeled:,} labelled", style="quiet")),
        _drift(watch),
        *(measurement_cell(watch.find(name)) for name in measures),
        measurement_cell(watch.cost),
    )


def _drift(watch: MonitoringReport) -> Cell:
    """Return whether drift is shown, with the p-value and the significance level it was compared with."""
    if watch.drift is None:
        return (Line(text="cannot be judged" if watch.is_complete else "not yet judged"),)
    reply = watch.reply("drift")
    p = next(found.value for found in watch.drift.measurements if found.name == "drift.p" and not found.slice)
    level = f", limit {formatting.format_number(reply.level)}" if reply else ""
    answer = "moved" if watch.drift.alarm else "no change shown"
    return Line(text=answer), Line(text=f"p {formatting.format_number(p)}{level}", style="quiet")
