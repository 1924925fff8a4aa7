"""What each action of `headway data` does and shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from headway.cli.exit_codes import FAIL, PASS
from headway.cli.output import write_whole
from headway.core.errors import ConfigError
from headway.core.provenance import ColumnChange, Difference, Provenance
from headway.core.release import Move
from headway.data.open import open_dataset
from headway.data.provenance.croissant import croissant
from headway.data.provenance.diff import difference
from headway.data.provenance.version import Version, version_of
from headway.data.read import read_file, source_files
from headway.data.split import cut
from headway.registry.project import open_project
from headway.registry.provenance import origins
from headway.registry.provenance.lineage import events
from headway.registry.provenance.sending import message, send
from headway.registry.register import Register
from headway.reporting.text import numbers
from headway.reporting.text.one_line import one_line
from headway.reporting.text.sheets import Column, Line, Mood, Sheet
from headway.reporting.text.tables import Laid

NAMED = 3
Word = Literal["list", "diff", "card", "lineage", "send"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which versions of data, and where to write."""

    versions: tuple[str, ...] = ()
    out: Path = Path("croissant.json")


class Done(NamedTuple):
    """What an action gave, the same for a person, and the exit code."""

    value: Any
    text: RenderableType
    code: int = PASS


def carry_out(folder: Path, word: Word, asked: Asked) -> Done:
    """Do one action on the data of a project; two files can be compared without one."""
    if word == "diff":
        if len(asked.versions) != 2:
            hint = "headway data diff old.parquet new.parquet"
            raise ConfigError("two versions of data are needed to compare", where="headway data diff", hint=hint)
        before, after = (_version(folder, word) for word in asked.versions)
        found = difference(before, after)
        return Done(found, difference_table(found))
    project = open_project(folder)
    if word == "card":
        dataset = open_dataset(project.config)
        written = json.dumps(croissant(dataset, project.config, source_files(project.config)), indent=2) + "\n"
        path = str(write_whole(written, asked.out).resolve())
        return Done({"card": path}, path)
    if word == "lineage":
        found_events = events(project)
        return Done({"events": found_events}, "\n".join(json.dumps(each) for each in found_events))
    if word == "send":
        sent = send(project)
        return Done(sent, message(sent), FAIL if sent.failed else PASS)
    kept = origins.kept(project)
    return Done({"kept": kept}, kept_table(kept) if kept else "nothing was kept yet: headway optimize")


def kept_table(kept: Sequence[Provenance]) -> Laid:
    """What was kept of data, oldest first."""
    rows = tuple(
        (
            (Line(text=numbers.short(each.digest)),),
            (Line(text=each.period),),
            (Line(text=f"{each.n_rows:,} x {len(each.columns)}"),),
            (Line(text=each.at),),
            (
                Line(text="; ".join(f"{name} {_short(text)}" for name, text in each.facts.items())),
                *(Line(text=one_line(f"DVC: {told}")) for told in each.tracked[:NAMED]),
                *[Line(text=f"DVC: {len(each.tracked) - NAMED:,} more files")] * (len(each.tracked) > NAMED),
            ),
        )
        for each in kept
    )
    titles = ("Digest", "Period", "Rows", "Kept (UTC)", "From")
    return Laid(Sheet(columns=tuple(Column(title=title, folds=title == "From") for title in titles), rows=rows))


def difference_table(found: Difference) -> RenderableType:
    """What changed: a sentence on the rows, and a line for each column."""
    if found.same:
        return Text(f"{found.before} and {found.after} hold the same {found.rows[0]:,} rows")
    if found.rows_added is None or found.rows_removed is None:
        went = "rows cannot be matched: only fingerprints over other columns were kept"
    else:
        went = f"{found.rows_removed:,} gone, {found.rows_added:,} new (a row that changed is both)"
    lead = f"{found.before}: {found.rows[0]:,} rows; {found.after}: {found.rows[1]:,} rows; {went}"
    titles = ("Column", "Is", "Missing", "Values moved by")
    columns = tuple(Column(title=title, folds=title == "Values moved by") for title in titles)
    sheet = Sheet(columns=columns, rows=tuple(_row(each) for each in found.columns))
    return Group(Text(lead), Laid(sheet)) if found.columns else Text(lead)


def data_lines(register: Register, moves: Sequence[Move]) -> list[str]:
    """A line for each release among the moves: the digests of the data that it was trained and judged on."""
    seen = dict.fromkeys((move.name, move.release) for move in moves if move.release)
    lines = []
    for name, digest in seen:
        data = register.resolve(f"{name}@{digest}").release.data
        told = ", ".join(f"{period} {numbers.short(of)}" for period, of in data.items())
        if told:
            lines.append(f"{numbers.short(digest)} was trained and judged on {told}")
    return lines


def _row(each: ColumnChange) -> tuple[tuple[Line, ...], ...]:
    mood: Mood = "plain"
    moved = "values of another kind" if each.change == "changed" else ""
    if each.moved is not None and each.chance is not None:
        above = each.moved > each.chance
        mood = "strong" if above else "plain"
        moved = f"{each.moved:.3f} of the rows; chance alone up to {each.chance:.3f}"
    missing = f"{each.missing[0]:,} -> {each.missing[1]:,}"
    return (Line(text=each.name),), (Line(text=each.change),), (Line(text=missing),), (Line(text=moved, mood=mood),)


def _short(text: str) -> str:
    return numbers.short(text) if text.startswith("sha256:") else text


def _version(folder: Path, word: str) -> Version:
    """A version by what it is called: a file, a period of the data as it is now, or a digest that was kept."""
    if Path(word).suffix or Path(word).is_file():
        return version_of(read_file(Path(word)), name=Path(word).name)
    project = open_project(folder)
    if word in ("train", "choose", "test", "live", "all"):
        dataset = open_dataset(project.config)
        fitted = bool(project.config.model.file)
        parts = {"all": dataset} if word == "all" else cut(dataset, project.config.split, fitted=fitted)
        if word not in parts:
            raise ConfigError(f"the data has no period '{word}'", where=f"[split] has {', '.join(parts)}")
        return version_of(parts[word].table, name=f"{word} now")
    return origins.find(project, word)
