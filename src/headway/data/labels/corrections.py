"""Corrected labels: stored with who, when and why, and applied when data is opened; sources are never edited."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.errors import DataError
from headway.core.labeling import Correction
from headway.core.record import read, write
from headway.core.variant import NUMBERS
from headway.data.read import read_table
from headway.data.roles import add_derived_group, apply_roles
from headway.storage.addresses import open_state

KIND = "correction"
_BETWEEN, _ABSENT = "\x1f", "\x00"


def add_correction(config: Config, state: State, *, row: int, to: str, who: str, why: str) -> Correction:
    """Store the correction of a label and return it.

    Parameters
    ----------
    row : int
        Row number from 1, in the order in which the source gives the rows.
    to : str
        The right label, written as in the source.
    who, why : str
        The author and the reason.

    Raises
    ------
    DataError
        If the row or label does not exist, the reason is empty, or the label is the same.
    """
    raw = read_table(config)
    if not 1 <= row <= len(raw):
        raise DataError(f"row {row} does not exist", where=f"{len(raw):,} rows", hint="headway labels suspects")
    if not why.strip():
        raise DataError("a correction needs a reason", hint='--why "..."')
    name = config.data.target
    table = apply_roles(add_derived_group(raw, config.data), config.data)
    new = _parse_label(to, raw[name], table[name], config.data.task)
    table, _ = apply_corrections(table, raw, config, load_corrections(config, state))
    old = table[name].cast(pl.Float64)[row - 1]
    if old == new:
        raise DataError(f"row {row} has the label {to} already", where=f"column {name}")
    one = Correction(
        row=row_digests(raw[row - 1 : row])[0],
        row_number=row,
        old=old,
        new=new,
        who=who,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    state.save(KIND, write(one), name=config.project.name)
    return one


def load_corrections(config: Config, state: State | None = None) -> list[Correction]:
    """Load all corrections of a project, oldest first."""
    if state is not None:
        return [read(Correction, content) for content in state.records(KIND, name=config.project.name)]
    if not config.store.state and not config.state.is_dir():
        return []
    opened = open_state(config)
    try:
        return load_corrections(config, opened)
    finally:
        opened.close()


def apply_corrections(
    table: pl.DataFrame, raw: pl.DataFrame, config: Config, corrections: Sequence[Correction]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Apply corrections to an opened table.

    Parameters
    ----------
    table : DataFrame
        The opened table.
    raw : DataFrame
        The same rows as the source has them, by which a correction finds its row.
    config : Config
        The project.
    corrections : sequence of Correction
        The corrections; the last one of a row applies.

    Returns
    -------
    tuple of DataFrame and dict
        The corrected table, and what the provenance says, including corrections whose row is gone.
    """
    if not corrections:
        return table, {}
    last = {correction.row: correction.new for correction in corrections}
    matches = [(index, digest) for index, digest in enumerate(row_digests(raw)) if digest in last]
    target = table[config.data.target]
    kind = target.dtype if all(value.is_integer() for value in last.values()) else pl.Float64
    new = pl.Series([last[digest] for _, digest in matches], dtype=pl.Float64).cast(kind)
    corrected = target.cast(kind).scatter([index for index, _ in matches], new)
    lost = len(last) - len({digest for _, digest in matches})
    people = ", ".join(sorted({correction.who for correction in corrections}))
    done = {"labels.corrected": f"{len(matches)} rows by {people}"}
    return table.with_columns(corrected), {**done, **({"labels.lost": f"{lost} corrections"} if lost else {})}


def row_digests(raw: pl.DataFrame) -> list[str]:
    """Return the digest of each row's values and column names, independent of column order."""
    names = sorted(raw.columns)
    values = [pl.col(name).cast(pl.String).fill_null(_ABSENT) for name in names]
    texts = raw.select(pl.concat_str(values, separator=_BETWEEN)).to_series()
    head = hashlib.blake2b(_BETWEEN.join(names).encode(), digest_size=16)
    found = []
    for text in texts:
        row = head.copy()
        row.update(text.encode())
        found.append(row.hexdigest())
    return found


def _parse_label(text: str, written: pl.Series, opened: pl.Series, task: str) -> float:
    """Convert a label, as written in the source or in the opened table, to a number."""
    same = (written.cast(pl.String) == text).arg_true()
    if len(same):
        return float(opened[int(same[0])])
    number = pl.Series([text]).cast(pl.Float64, strict=False)[0]
    if number is not None and (task in NUMBERS or number in opened.cast(pl.Float64).unique()):
        return float(number)
    values = written.drop_nulls().cast(pl.String).unique().sort().head(10).to_list()
    raise DataError(f"'{text}' is not a label of '{opened.name}'", where=f"labels: {', '.join(values)}", hint=values[0])
