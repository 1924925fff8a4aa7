"""The devices of a fleet in a table: for the terminal and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from headway.core.fleet import DeviceComparison, DeviceStatus, FleetComparison, FleetPointer
from headway.registry.fleet import release_for
from headway.reporting.text.formatting import (
    describe_percentage,
    format_seconds,
    format_time,
    has_interval,
    short_digest,
)
from headway.reporting.text.tables import Cell, Line, Table, make_table, text_cell

LATE_POLLS = 3
"""Polls without a report after which a device is late."""


def tabulate_devices(
    statuses: Sequence[DeviceStatus],
    pointer: FleetPointer | None,
    comparison: FleetComparison | None,
    *,
    poll_s: float,
    at: datetime,
) -> Table:
    """Tabulate what each device serves, how far it is behind, when it reported, its errors, and its disagreement."""
    compared = {one.device: one for one in comparison.devices} if comparison else {}
    rows = [_device_row(status, pointer, compared, poll_s=poll_s, at=at) for status in statuses]
    titles = ("Device", "Release", "Pointer", "Last report", "Rows shipped", "Differs from here")
    return make_table(titles, rows, folds=("Device", "Last report"))


def describe_disagreement(comparison: FleetComparison | None) -> str:
    """Describe how many sampled rows devices answered otherwise, with the interval of their share if there is one."""
    if comparison is None:
        return "The rows that devices shipped were not compared yet: headway fleet status"
    share, at = comparison.share, format_time(comparison.at)
    if share is None:
        return f"No row that a device shipped could be compared ({at})."
    differing = sum(one.differing for one in comparison.devices)
    devices = f"{share.n_groups:,} device{'s' * (share.n_groups != 1)}"
    interval = (
        f"{devices}, 95 % interval {describe_percentage(share)} rows"
        if has_interval(share)
        else f"{devices}, so no interval"
    )
    counts = f"{differing:,} of {share.n_rows:,} sampled rows differ from what the same release answers here"
    return f"{counts}; {interval} ({at})."


def _device_row(
    status: DeviceStatus,
    pointer: FleetPointer | None,
    compared: Mapping[str, DeviceComparison],
    *,
    poll_s: float,
    at: datetime,
) -> tuple[Cell, ...]:
    return (
        text_cell(status.device),
        *_report_cells(status, pointer, poll_s=poll_s, at=at),
        _shipped_cell(status),
        _compared_cell(compared.get(status.device)),
    )


def _report_cells(
    status: DeviceStatus, pointer: FleetPointer | None, *, poll_s: float, at: datetime
) -> tuple[Cell, Cell, Cell]:
    report = status.report
    if report is None:
        return text_cell("not known", "quiet"), text_cell("not known", "quiet"), text_cell("? never", "undecided")
    wanted = release_for(pointer, status.device).digest if pointer else ""
    is_current = report.release == wanted
    software = (Line(text=f"headway {report.headway}", style="quiet"),) if report.headway else ()
    release = short_digest(report.release) if report.release else "none"
    mark = Line(text=f"{'✓' if is_current else '!'} {release}", style="pass" if is_current else "undecided")
    behind = max(pointer.number - report.number, 0) if pointer else 0
    number = (
        Line(text=f"! {report.number}, {behind:,} behind", style="undecided")
        if behind
        else Line(text=f"{report.number}")
    )
    age_s = max((at - datetime.fromisoformat(status.reported_at)).total_seconds(), 0.0)
    is_late = age_s > LATE_POLLS * poll_s
    age = Line(text=f"{'! ' * is_late}{format_seconds(age_s)} ago", style="undecided" if is_late else "plain")
    refusal = (Line(text=f"✗ refused: {report.reason}", style="fail"),) if report.reason else ()
    return (mark, *software), (number,), (age, *refusal)


def _shipped_cell(status: DeviceStatus) -> Cell:
    waiting = status.report.waiting if status.report else 0
    lines = [Line(text=f"{status.rows:,}")]
    lines += [Line(text=f"{status.errors:,} errors", style="undecided")] if status.errors else []
    lines += [Line(text=f"{waiting:,} segments wait", style="quiet")] if waiting else []
    lines += [Line(text=f"✗ {status.refused:,} not accepted", style="fail")] if status.refused else []
    return tuple(lines)


def _compared_cell(compared: DeviceComparison | None) -> Cell:
    if compared is None or not compared.rows:
        return text_cell("not compared", "quiet")
    text = f"{compared.differing:,} of {compared.rows:,} rows"
    return text_cell(f"✗ {text}" if compared.differing else f"✓ {text}", "fail" if compared.differing else "pass")
