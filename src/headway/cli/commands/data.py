"""Versions of the data: list them, compare two, write a Croissant card, or export lineage as OpenLineage events."""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from rich.console import Group, RenderableType
from rich.text import Text

from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson
from headway.core.errors import ConfigError
from headway.core.provenance import ColumnChange, Difference, Provenance
from headway.data.open import open_dataset
from headway.data.provenance.croissant import croissant_metadata
from headway.data.provenance.streamed import StreamedVersion
from headway.data.provenance.versions import DataVersion, compare_versions, make_version
from headway.data.read import read_file, source_files
from headway.data.scan import scan_path
from headway.data.settings.model import ModelSection
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset
from headway.registry.project import open_project
from headway.registry.provenance import origins
from headway.registry.provenance.lineage import delivery_message, events, send
from headway.reporting.console import print_result, print_text, write_atomically
from headway.reporting.text import formatting
from headway.reporting.text.formatting import one_line
from headway.reporting.text.tables import Cell, Column, Line, Style, Table
from headway.reporting.text.terminal import TerminalTable

DVC_FILES_SHOWN = 3
PERIODS = ("train", "validation", "test", "live", "all")


def plugin(
    action: Literal["list", "diff", "card", "lineage", "send"] = "list",
    versions: tuple[str, ...] = (),
    *,
    out: Path = Path("croissant.json"),
    project: Path = Path("."),
    json: AsJson = False,
) -> int:
    """List stored data versions, compare two, write a data card, or print or send lineage. Exit 1 if sending fails.

    Example: headway data diff old.parquet new.csv
    Example: headway data diff validation test --project headway-demo
    Example: headway data card --out croissant.json --project headway-demo
    Example: headway data send --project headway-demo

    Parameters
    ----------
    action
        list, diff (two versions), card (Croissant metadata, a file), lineage (OpenLineage events, one per line) or
        send (events that the receiver of [provenance] lineage_to, or of OPENLINEAGE_URL, does not have yet).
    versions
        For diff, two of: a file or a folder of them, the first digits of a stored digest, or train, validation, test,
        live or all for the data as it is now.
    out
        For card: the file to write; an existing file is replaced.
    project
        Folder with headway.toml; two files are compared without one.
    """
    if action == "diff":
        if len(versions) != 2:
            raise ConfigError(
                f"diff compares two versions of the data, {len(versions)} given",
                where="headway data diff",
                hint="headway data diff old.parquet new.parquet",
            )
        before, after = (_version(project, word) for word in versions)
        found = compare_versions(before, after)
        print_result(found, difference_table(found), json=json)
        return PASS
    opened = open_project(project)
    if action == "card":
        metadata = croissant_metadata(open_dataset(opened.config), opened.config, source_files(opened.config))
        path = str(write_atomically(dumps(metadata, indent=2) + "\n", out).resolve())
        print_result({"card": path}, path, json=json)
    elif action == "lineage":
        found_events = events(opened)
        if json:
            print_result({"events": found_events}, "", json=True)
        else:
            print_text("\n".join(dumps(event) for event in found_events) + "\n")
    elif action == "send":
        sent = send(opened)
        print_result(sent, delivery_message(sent), json=json)
        return FAIL if sent.failed else PASS
    else:
        stored = origins.saved_versions(opened)
        print_result({"kept": stored}, _versions_table(stored) if stored else "no version is stored yet", json=json)
    return PASS


def _versions_table(stored: Sequence[Provenance]) -> TerminalTable:
    titles = ("Digest", "Period", "Rows", "Stored (UTC)", "Source")
    columns = tuple(Column(title=title, folds=title == "Source") for title in titles)
    return TerminalTable(Table(columns=columns, rows=tuple(map(_version_row, stored))))


def _version_row(version: Provenance) -> tuple[Cell, ...]:
    facts = (
        f"{name} {formatting.short_digest(text) if text.startswith('sha256:') else text}"
        for name, text in version.facts.items()
    )
    tracked = [Line(text=one_line(f"DVC: {file}")) for file in version.tracked[:DVC_FILES_SHOWN]]
    more = len(version.tracked) - DVC_FILES_SHOWN
    if more > 0:
        tracked.append(Line(text=f"DVC: {more:,} more files"))
    return (
        (Line(text=formatting.short_digest(version.digest)),),
        (Line(text=version.period),),
        (Line(text=f"{version.n_rows:,} x {len(version.columns)}"),),
        (Line(text=version.at),),
        (Line(text="; ".join(facts)), *tracked),
    )


def difference_table(found: Difference) -> RenderableType:
    """Return the changes between two versions: a line on the rows and a table of the columns."""
    if found.same:
        return Text(f"{found.before} and {found.after} hold the same {found.rows[0]:,} rows")
    if found.rows_added is None or found.rows_removed is None:
        changed = "rows cannot be matched, because the stored fingerprints cover other columns"
    else:
        changed = f"{found.rows_removed:,} removed, {found.rows_added:,} added (a changed row counts in both)"
    lead = f"{found.before}: {found.rows[0]:,} rows; {found.after}: {found.rows[1]:,} rows; {changed}"
    titles = ("Column", "Change", "Missing", "Values moved by")
    columns = tuple(Column(title=title, folds=title == "Values moved by") for title in titles)
    table = Table(columns=columns, rows=tuple(map(_column_row, found.columns)))
    return Group(Text(lead), TerminalTable(table)) if found.columns else Text(lead)


def _column_row(column: ColumnChange) -> tuple[Cell, ...]:
    style: Style = "plain"
    moved = "other type" if column.change == "changed" else ""
    if column.distance is not None and column.chance_level is not None:
        style = "strong" if column.distance > column.chance_level else "plain"
        moved = f"{column.distance:.3f} of the rows; by chance up to {column.chance_level:.3f}"
    missing = f"{column.missing[0]:,} -> {column.missing[1]:,}"
    return (
        (Line(text=column.name),),
        (Line(text=column.change),),
        (Line(text=missing),),
        (Line(text=moved, style=style),),
    )


def _version(folder: Path, word: str) -> DataVersion:
    """Return the version that a word names: a file, a period of the data as it is now, or a stored digest."""
    if Path(word).suffix or Path(word).is_file() or (Path(word).is_dir() and word not in PERIODS):
        return _file_version(Path(word))
    project = open_project(folder)
    if word not in PERIODS:
        return origins.find(project, word)
    dataset = open_dataset(project.config)
    fitted = bool(project.config[ModelSection].file)
    parts = {"all": dataset} if word == "all" else split_dataset(dataset, project.config[SplitSection], fitted=fitted)
    if word not in parts:
        raise ConfigError(f"the data has no period '{word}'", where=f"[split] has {', '.join(parts)}")
    return make_version(parts[word].table, name=f"{word} now")


def _file_version(path: Path) -> DataVersion:
    """Return the version of a file or of a folder of them, read in batches if its rows shall not be in memory."""
    with TemporaryDirectory(prefix="headway-rows-", ignore_cleanup_errors=True) as name:
        scan = scan_path(path, folder := Path(name))
        if scan is None:
            return make_version(read_file(path), name=path.name)
        (folder / "digest").mkdir()
        streamed = StreamedVersion(folder / "digest", n_rows=scan.n_rows)
        for batch in scan.batches():
            streamed.add(batch)
        return streamed.version(name=path.name)
