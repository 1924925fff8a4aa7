"""Rows in quarantine: list and read them, and release or discard them, each with a reason.

A decision is kept by the content of the rows, so that it holds when they come again. A released row passes the
contract. A discarded one is left out: of the project's data when they are opened, of the rows that pass, and of
quarantine.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.errors import DataError, StoreError
from headway.core.quarantine import Decision, QuarantinedRow, QuarantineFile, RowDecision
from headway.core.record import kind_of, read, write
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.data.contract.validation import REASON, ROW
from headway.data.labels.corrections import row_digests
from headway.storage import atomic, segments, traffic
from headway.storage.addresses import open_state

LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Digests of the rows that were released, and of those that were discarded."""

    released: Collection[str] = frozenset()
    discarded: Collection[str] = frozenset()

    def usable(self, table: pl.DataFrame) -> pl.Series | None:
        """Return which rows of an opened table were not discarded; None if that is all of them."""
        if not self.discarded:
            return None
        return ~pl.Series(row_digests(table), dtype=pl.String).is_in(list(self.discarded))


def load_decisions(config: Config, state: State | None = None) -> Decisions:
    """Load the decisions on rows of a project; the last one on a row counts."""
    if state is not None:
        last: dict[str, Decision] = {}
        for content in state.records(kind_of(RowDecision), name=config[ProjectSection].name):
            decided = read(RowDecision, content)
            last |= dict.fromkeys(decided.rows, decided.decision)
        by = {of: frozenset(row for row, decision in last.items() if decision == of) for of in last.values()}
        return Decisions(released=by.get("released", frozenset()), discarded=by.get("discarded", frozenset()))
    if not config[StoreSection].state and not config.state.is_dir():
        return Decisions()
    opened = open_state(config)
    try:
        return load_decisions(config, opened)
    finally:
        opened.close()


def list_quarantine(config: Config) -> list[QuarantineFile]:
    """Return the files in quarantine of a project, the newest first."""
    return [_described(path) for path in reversed(_paths(config))]


def read_rows(config: Config, file: str, *, start: int = 0, limit: int = LIMIT) -> list[QuarantinedRow]:
    """Return rows of a file in quarantine, in the order of the source; raises DataError if the file is absent."""
    table = _read(_path_of(config, file))[start : start + limit]
    values = table.drop(ROW, REASON).select(pl.all().map_elements(str, return_dtype=pl.String))
    return [
        QuarantinedRow(row=number, reason=reason, values=row)
        for number, reason, row in zip(table[ROW], table[REASON], values.iter_rows(named=True), strict=True)
    ]


def decide_rows(
    config: Config, state: State, file: str, rows: Collection[int], decision: Decision, *, who: str, why: str
) -> RowDecision:
    """Release or discard rows of a file in quarantine, and take them out of it.

    Parameters
    ----------
    rows : collection of int
        Their numbers in the source, as quarantine shows them; all rows of the file if empty.
    who, why : str
        The author and the reason.

    Raises
    ------
    DataError
        If the file has no such row, or the reason is empty.
    """
    if not why.strip():
        raise DataError("a decision on rows in quarantine needs a reason", hint='--why "..."')
    atomic.make_folder(config.state)
    with traffic.rewriting(config.state, wait=True):
        path = _path_of(config, file)
        written = path.stat().st_mtime_ns
        table = _read(path)
        absent = sorted(set(rows) - set(table[ROW]))
        if absent:
            raise DataError(
                f"row {absent[0]} is not in quarantine: another person may have decided on it", where=file, hint=_HINT
            )
        chosen = table.filter(pl.col(ROW).is_in(list(rows))) if rows else table
        one = RowDecision(
            name=config[ProjectSection].name,
            decision=decision,
            file=file,
            rows=tuple(row_digests(chosen.drop(ROW, REASON))),
            numbers=tuple(chosen[ROW]),
            who=who,
            why=why,
            at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        state.save(kind_of(RowDecision), write(one), name=config[ProjectSection].name)
        rest = table.filter(~pl.col(ROW).is_in(list(one.numbers)))
        if rest.is_empty():
            path.unlink()
            atomic.sync(path.parent)
        else:
            atomic.fill(path, lambda out: rest.write_parquet(out))
            os.utime(path, ns=(written, written))  # the rows are as old as they were, for their retention
    return one


_HINT = "headway contract quarantine"


def _paths(config: Config) -> list[Path]:
    own = config[ProjectSection].name
    return [path for path in traffic.quarantine_files(config.state) if path.parent.name == own]


def _path_of(config: Config, file: str) -> Path:
    found = next((path for path in _paths(config) if path.name == file), None)
    if found is None:
        raise DataError(f"no file {file!r} is in quarantine", where=str(config.state), hint=_HINT)
    return found


def _described(path: Path) -> QuarantineFile:
    at = datetime.fromtimestamp(segments.written_ns(path) / 1e9, UTC).isoformat(timespec="seconds")
    source = path.name.partition(".")[2].removesuffix(path.suffix)
    return QuarantineFile(file=path.name, source=source, at=at, n_rows=len(_read(path, columns=[ROW])))


def _read(path: Path, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(columns) if columns else None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"a file in quarantine cannot be read: {error}", where=str(path)) from error
