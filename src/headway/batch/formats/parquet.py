"""Parquet, read and written by polars one slice of row groups at a time, to bound memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import nanoarrow
import polars as pl
from polars import selectors as cs

from headway.batch import columns
from headway.batch.polars_reader import PolarsScan
from headway.core.batch import ROW, ArrowColumn, ScoringOptions
from headway.core.plugins import load_sibling
from headway.storage import addresses


class Parquet:
    """Reads and writes parquet."""

    def scan(self, path: Path | str, options: ScoringOptions) -> PolarsScan:
        """Open a parquet file, or an object on S3 by its address."""
        storage = None
        if isinstance(path, str):
            storage = load_sibling(addresses.__name__, "s3", reads=f"'{path}'").Bucket(path).read_options
        frame = pl.scan_parquet(path, glob=False, hive_partitioning=False, storage_options=storage)
        return PolarsScan(frame, options, path)

    def encode(self, columns_: Mapping[str, ArrowColumn]) -> bytes:
        """Encode one part as an uncompressed Arrow file without the numbers of its rows, which the join adds."""
        content = io.BytesIO()
        _frame(columns_).drop(ROW, strict=False).write_ipc(content, compression="uncompressed")
        return content.getvalue()

    def holds(self, out: Path, start: int, columns_: Mapping[str, ArrowColumn]) -> bool:
        """Return whether a written file has these columns, to the bit, from row `start` on."""
        expected = _frame(columns_)
        written = pl.scan_parquet(out, glob=False, hive_partitioning=False).slice(start, len(expected)).collect()
        return _encoded(written) == _encoded(expected)

    def join(
        self, parts: Sequence[Path], out: Path, empty: Mapping[str, ArrowColumn], about: Mapping[str, str]
    ) -> None:
        """Write one parquet file from the parts, one row group at a time."""
        frame, rows = _frame(empty).lazy(), columns.chunk_rows(1)
        if parts:
            frame = pl.scan_ipc(list(parts), glob=False, row_index_name=ROW if ROW in empty else None)
            frame = frame.with_columns(cs.by_name(ROW, require_all=False).cast(pl.Int64))
        frame.sink_parquet(out, compression="snappy", row_group_size=rows, maintain_order=True, metadata=dict(about))


def _encoded(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, compression="uncompressed", statistics=False)
    return content.getvalue()


def _frame(columns_: Mapping[str, ArrowColumn]) -> pl.DataFrame:
    return pl.DataFrame(nanoarrow.c_array_stream(columns.to_arrow_table(columns_)))


plugin = Parquet()
