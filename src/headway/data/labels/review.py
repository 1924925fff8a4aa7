"""A person's answer to a label that may be wrong: correct it, or confirm it; each answer is stored with who and why."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.errors import DataError
from headway.core.labeling import Confirmation, Correction
from headway.core.record import kind_of, read, write
from headway.core.settings.project import ProjectSection
from headway.core.variant import MULTILABEL, NUMBERS
from headway.data.labels.corrections import KIND, row_digests
from headway.data.open import OpenedRows, open_rows
from headway.data.read import read_table
from headway.data.settings.data import DataSection


def add_correction(
    config: Config, state: State, *, row: int, to: str, who: str, why: str, digest: str = ""
) -> Correction:
    """Store the correction of a label and return it.

    Parameters
    ----------
    row : int
        Row number from 1, in the order in which the source gives the rows.
    to : str
        The right label, written as in the source.
    who, why : str
        The author and the reason.
    digest : str
        Digest of the row's content that the person saw; empty if they name the row by its number alone.

    Raises
    ------
    DataError
        If the row or label does not exist, the row has another content, the reason is empty, or the label is the same.
    """
    opened, found = _reviewed_row(config, state, row=row, why=why, digest=digest)
    name = config[DataSection].target
    new = _parse_label(to, opened.raw[name], opened.target, config[DataSection].task)
    old = opened.table[name].cast(pl.Float64)[row - 1]
    if old == new:
        raise DataError(f"row {row} has the label {to} already", where=f"column {name}")
    one = Correction(row=found, row_number=row, old=old, new=new, who=who, why=why, at=_now())
    state.save(KIND, write(one), name=config[ProjectSection].name)
    return one


def confirm_label(config: Config, state: State, *, row: int, who: str, why: str, digest: str = "") -> Confirmation:
    """Store that the label of a row is right, so that it is not suspected again; see `add_correction`."""
    opened, found = _reviewed_row(config, state, row=row, why=why, digest=digest)
    label = opened.table[config[DataSection].target].cast(pl.Float64)[row - 1]
    one = Confirmation(row=found, row_number=row, label=label, who=who, why=why, at=_now())
    state.save(kind_of(Confirmation), write(one), name=config[ProjectSection].name)
    return one


def confirmed_rows(config: Config, state: State) -> set[str]:
    """Return the digests of the rows whose labels were confirmed."""
    stored = state.records(kind_of(Confirmation), name=config[ProjectSection].name)
    return {read(Confirmation, content).row for content in stored}


def _reviewed_row(config: Config, state: State, *, row: int, why: str, digest: str) -> tuple[OpenedRows, str]:
    """Return the rows of a project and the digest of one of them."""
    opened = open_rows(config, read_table(config), state=state)
    if not 1 <= row <= len(opened.raw):
        raise DataError(f"row {row} does not exist", where=f"{len(opened.raw):,} rows", hint="headway labels suspects")
    if config[DataSection].task == MULTILABEL:
        raise DataError(
            "a correction is one class, and rows have several labels here",
            where='[data] task = "multilabel"',
            hint="correct the table of [data] source",
        )
    if not why.strip():
        raise DataError("a correction needs a reason", hint='--why "..."')
    found = row_digests(opened.raw[row - 1 : row])[0]
    if digest not in ("", found):
        raise DataError(f"row {row} holds other values than those that were shown", hint="headway labels suspects")
    return opened, found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


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
