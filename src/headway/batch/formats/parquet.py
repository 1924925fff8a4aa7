"""Parquet, read and written by polars one slice of row groups at a time, to bound memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import nanoarrow
import polars as pl

from headway.batch import columns
from headway.batch.polars_reader import PolarsScan
from headway.core.batch import ArrowColumn, ScoringOptions
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
        """Encode one part as an uncompressed parquet file; the joined file is compressed."""
        return _encoded(_frame(columns_))

    def encode_rows(self, out: Path, start: int, rows: int) -> bytes:
        """Encode rows of a written file, as `encode` does: equal bytes mean that they are equal to the bit."""
        return _encoded(pl.scan_parquet(out, glob=False, hive_partitioning=False).slice(start, rows).collect())

    def join(
        self, parts: Sequence[Path], out: Path, empty: Mapping[str, ArrowColumn], about: Mapping[str, str]
    ) -> None:
        """Write one parquet file from the parts, one row group at a time."""
        frame = pl.scan_parquet(list(parts), hive_partitioning=False) if parts else _frame(empty).lazy()
        rows = columns.chunk_rows(1)
        frame.sink_parquet(out, compression="snappy", row_group_size=rows, maintain_order=True, metadata=dict(about))


def _encoded(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content, compression="uncompressed", statistics=False)
    return content.getvalue()


def _frame(columns_: Mapping[str, ArrowColumn]) -> pl.DataFrame:
    return pl.DataFrame(nanoarrow.c_array_stream(columns.to_arrow_table(columns_)))


plugin = Parquet()
