"""Corrected labels: stored with who, when and why, and applied when data is opened; sources are never edited."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.labeling import Correction
from headway.core.record import read
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.data.settings.data import DataSection
from headway.storage.addresses import open_state

KIND = "correction"
_BETWEEN, _ABSENT = "\x1f", "\x00"


def load_corrections(config: Config, state: State | None = None) -> list[Correction]:
    """Load all corrections of a project, oldest first."""
    if state is not None:
        return [read(Correction, content) for content in state.records(KIND, name=config[ProjectSection].name)]
    if not config[StoreSection].state and not config.state.is_dir():
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
    target = table[config[DataSection].target]
    kind = target.dtype if all(value.is_integer() for value in last.values()) else pl.Float64
    new = pl.Series([last[digest] for _, digest in matches], dtype=pl.Float64).cast(kind)
    corrected = target.cast(kind).scatter([index for index, _ in matches], new)
    lost = len(last) - len({digest for _, digest in matches})
    people = ", ".join(sorted({correction.who for correction in corrections}))
    done = {"labels.corrected": f"{len(matches)} rows by {people}"}
    return table.with_columns(corrected), {**done, **({"labels.lost": f"{lost} corrections"} if lost else {})}


def row_digests(raw: pl.DataFrame) -> list[str]:
    """Return the digest of each row's values and column names, independent of column order."""
    return raw.select(row_digest(raw.schema)).to_series().to_list()


def row_digest(schema: pl.Schema) -> pl.Expr:
    """Return an expression with the digest of each row of a table with this schema; see `row_digests`."""
    head = hashlib.blake2b(_BETWEEN.join(sorted(schema)).encode(), digest_size=16)

    def digests(texts: pl.Series) -> pl.Series:
        found = []
        for text in texts:
            row = head.copy()
            row.update(text.encode())
            found.append(row.hexdigest())
        return pl.Series(found, dtype=pl.String)

    values = [_as_text(name, schema[name]).fill_null(_ABSENT) for name in sorted(schema)]
    return pl.concat_str(values, separator=_BETWEEN).map_batches(digests, return_dtype=pl.String, is_elementwise=True)


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.struct(name).struct.json_encode() if dtype.is_nested() else pl.col(name).cast(pl.String)
