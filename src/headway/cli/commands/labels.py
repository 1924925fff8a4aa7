"""Manage labels: add them, rank suspects, correct one, measure agreement or delay, choose what to label next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Any, Literal

from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.errors import ConfigError, DataError
from headway.core.evidence import Measurement
from headway.core.labeling import Suspects, describe_review
from headway.core.settings.project import ProjectSection
from headway.data.settings.data import DataSection
from headway.monitoring.labeling.agreement import Level, measure_agreement, read_annotations, stored_annotations
from headway.monitoring.labeling.delays import label_delays
from headway.monitoring.labeling.selection import next_to_label
from headway.monitoring.labeling.suspects import review_label, save_suspects
from headway.monitoring.prediction_log import read_label_file, unlogged_keys
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result
from headway.reporting.text import formatting
from headway.serving.settings.serve import ServeSection
from headway.storage.addresses import log_root, open_logs
from headway.storage.traffic import save_labels

Action = Literal["add", "suspects", "correct", "confirm", "agree", "delay", "next"]
MAX_KEYS = 5
NEVER_S = 1e12
"""A delay above this stands for a share of labels that has not arrived yet."""


def plugin(
    action: Action = "suspects",
    file: Path | None = None,
    *,
    row: int = 0,
    to: str = "",
    why: str = "",
    who: str = "",
    level: Level = "nominal",
    top: int = 20,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Add labels, rank suspects, correct one (the source is not edited), measure agreement or delay, or pick the next.

    Example: headway labels add labels.csv --project headway-demo
    Example: headway labels suspects --top 50 --project headway-demo
    Example: headway labels correct --row 17 --to 0 --why "the tower log shows it" --project headway-demo
    Example: headway labels agree annotations.csv --level ordinal --project headway-demo

    Parameters
    ----------
    action
        add (store the labels of a file; a later label of a key replaces an earlier one; keys of no logged request are
        named, and exit 1 if none is known, 3 if no request is logged), suspects (rank labels by how
        unlikely a model that never saw the row finds them), correct (stored, and applied when the data is opened),
        confirm (the label is right, and suspects lists the row no more),
        agree (agreement of annotators beyond chance), delay (time from a request to its label), or next (requests
        whose labels would teach most).
    file
        For add: a csv or parquet file with columns key and label. For agree: one with columns key, who and label;
        default: the stored labels.
    row
        For correct and confirm: the row number that suspects shows.
    to
        For correct: the right label, written as the target is.
    why
        For correct and confirm: the reason, for later readers.
    who
        For add, correct and confirm: who gives the label; default: the name of the user.
    level
        For agree: the scale of the labels: nominal (names), ordinal (ordered) or interval (numbers).
    top
        For suspects and next: how many rows to show; suspects --json lists up to 1,000.
    """
    if action == "add":
        return _add(config.load(project), file or Path("labels.csv"), who or getuser(), json=json)
    opened = open_project(project)
    run: dict[Action, Callable[[], tuple[Any, list[str]]]] = {
        "suspects": lambda: _suspects(opened, top),
        "correct": lambda: _correct(opened, row=row, to=to, who=who or getuser(), why=why),
        "confirm": lambda: _confirm(opened, row=row, who=who or getuser(), why=why),
        "agree": lambda: _agree(opened, file, level),
        "delay": lambda: _delay(opened),
        "next": lambda: _next(opened, top),
    }
    value, lines = run[action]()
    print_result(value, "\n".join(lines), json=json)
    return PASS


def _add(settings: config.Config, file: Path, who: str, *, json: bool) -> int:
    """Store labels and name the keys that no logged request has; fail if none has one."""
    name, labels = settings[ProjectSection].name, read_label_file(file, settings[DataSection])
    keys = [label.key for label in labels]
    unknown = unlogged_keys(log_root(settings, name), name, keys)
    count = save_labels(settings.state, name, labels, who=who)
    if logs := open_logs(settings):
        logs.ship()
    lines = [f"{name}: stored {count:,} labels"]
    if unknown is None:
        lines += [
            "no request is logged yet, so no label belongs to one",
            f"  try: headway serve {name}@live, and send requests with these keys",
        ]
    elif unknown:
        named = ", ".join(unknown[:MAX_KEYS]) + (" ..." if len(unknown) > MAX_KEYS else "")
        of = "none" if len(unknown) == len(set(keys)) else f"{len(unknown):,}"
        verb = "is that of a logged request" if of == "none" else "belong to no logged request"
        lines += [
            f"{of} of {len(set(keys)):,} keys {verb}: {named}",
            f"  the log is written every {settings[ServeSection].log_flush_s:g} s; a key is matched byte by byte",
        ]
    result = {"kept": count, "unknown": unknown and len(unknown), "unknown_keys": (unknown or [])[:MAX_KEYS]}
    print_result(result, "\n".join(lines), json=json)
    if unknown is None:
        return UNDECIDED
    return FAIL if unknown and len(unknown) == len(set(keys)) else PASS


def _suspects(project: Project, top: int) -> tuple[Suspects, list[str]]:
    result = save_suspects(project)
    lines = [f"{_count(result.count)} of {result.count.n_rows:,} labels look wrong"]
    for measurement in result.by_class:
        share = measurement.value / max(1, measurement.n_rows)
        label = measurement.slice.partition("=")[2]
        lines.append(f"  labelled {label}: {_count(measurement)} of {measurement.n_rows:,} ({share:.1%})")
    shown = result.rows[:top]
    lines += [
        f"  row {suspect.row:>9,}  labelled {suspect.given_label}, more likely {suspect.likely_label}"
        f"  {suspect.probability:.0%}  {suspect.group}"
        for suspect in shown
    ]
    if shown:
        lines.append(f"correct one: headway labels correct --row {shown[0].row} --to {shown[0].likely_label} --why ...")
    return result, lines


def _count(count: Measurement) -> str:
    """Return a number of wrong labels with its range: `between 80 and 160 (about 120)`."""
    if not formatting.has_interval(count):
        return f"about {count.value:,.0f} (no range: {count.n_groups:,} groups are too few)"
    return f"between {max(0.0, count.low):,.0f} and {count.high:,.0f} (about {count.value:,.0f})"


def _correct(project: Project, *, row: int, to: str, who: str, why: str) -> tuple[Any, list[str]]:
    if not row or not to:
        raise ConfigError(
            "a correction needs a row number and a label", hint='headway labels correct --row 17 --to 1 --why "..."'
        )
    stored = review_label(project, row=row, to=to, who=who, why=why)
    return stored, [describe_review(stored)]


def _confirm(project: Project, *, row: int, who: str, why: str) -> tuple[Any, list[str]]:
    if not row:
        raise ConfigError("a confirmation needs a row number", hint='headway labels confirm --row 17 --why "..."')
    stored = review_label(project, row=row, who=who, why=why)
    return stored, [describe_review(stored)]


def _agree(project: Project, file: Path | None, level: Level) -> tuple[Any, list[str]]:
    table = read_annotations(file) if file else stored_annotations(log_root(project.config, project.name), project.name)
    result = measure_agreement(table, name=project.name, source=str(file or "stored labels"), level=level)
    project.save(result)
    first = result.measurements[0]
    head = (
        f"agreement beyond chance: {len(result.annotators)} annotators, "
        f"{first.n_rows:,} items, {first.n_groups:,} groups"
    )
    lines = [
        f"  {measurement.slice or measurement.name.partition('.')[2]:24} {formatting.format_measurement(measurement)}"
        for measurement in result.measurements
    ]
    return result, [head, *lines]


def _delay(project: Project) -> tuple[Any, list[str]]:
    result = label_delays(project)
    if result is None:
        raise DataError(
            "the live release has answered no request that can get a label",
            where=str(project.config.state),
            hint=f"headway serve {project.name}@live, and requests with a key",
        )
    lines = [f"{result.n_labeled:,} of {result.n_requests:,} requests have a label"]
    for quantile in result.quantiles:
        share = quantile.name.rpartition(".p")[2]
        within = "a time not reached yet" if quantile.value > NEVER_S else formatting.format_seconds(quantile.value)
        lines.append(f"  {share} % of labels arrive within {within}")
    if result.late is not None:
        declared = formatting.format_seconds(result.declared_s)
        late = f"{formatting.format_measurement(result.late)} of {result.late.n_rows:,}"
        lines.append(f"  missing after {declared}, the declared delay: {late}")
    return result, lines


def _next(project: Project, top: int) -> tuple[Any, list[str]]:
    requests = next_to_label(project, top)
    head = f"{len(requests)} requests whose labels would teach most: key, time (UTC), uncertainty of the model"
    lines = [
        f"  {request.key:24} {datetime.fromtimestamp(request.at_us / 1e6, UTC):%F %T}  {request.doubt:.0%}"
        for request in requests
    ]
    return requests, [head, *lines, "next: headway labels add labels.csv"]
