"""Read parquet and Arrow files, and plain csv lines, with polars."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import nanoarrow
import numpy as np
import polars as pl

from headway.batch import columns
from headway.batch.columns import UNKNOWN, check_columns, new_refusal, parse_number
from headway.core.batch import ArrowColumn, Chunk, Refusal, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.data.matrix import STRING_DTYPES, encode_columns
from headway.serving.protocol.tensors import BYTES

_CHUNKS_PER_READ = 8  # decoded together, because a slice decodes the pages at its two ends again
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_TIME_TYPES = (pl.Date, pl.Datetime, pl.Duration, pl.Time)


class PolarsScan:
    """Lazily read file; a slice decodes only what it holds."""

    def __init__(self, frame: pl.LazyFrame, options: ScoringOptions, path: Path | str) -> None:
        self._where = str(path)
        try:
            frame = frame.with_columns(_partition_columns(options, self._where))
            schema = frame.collect_schema()
            check_columns(schema.names(), options, self._where)
            for field in options.signature.inputs:
                _expect_type(field, schema[field.name], self._where)
            self._frame, self._options = frame.select(options.names), options
            self.passthrough = passthrough_columns(self._frame.slice(0, 0).collect(), options, self._where)
            self.length = int(frame.select(pl.len()).collect().item())
        except _FAILURES as error:
            raise _unreadable(error, self._where) from error

    def chunks(self, start: int, position: int) -> Iterator[Chunk]:
        """Yield chunks of equal length from row `start`, which is the position as well."""
        rows = columns.chunk_rows(len(self._options.signature.inputs), has_texts=bool(self._options.signature.texts))
        for frame in self._frames(start, rows):
            yield self._chunk(frame, start)
            start += len(frame)

    def _frames(self, start: int, rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of that many rows from row `start` on, decoded once and while earlier ones are in use.

        What cannot be read so is read again in slices, which find the first row at fault.
        """
        try:
            for frame in _cut(_stream(self._frame.slice(start), rows), rows):
                yield frame
                start += len(frame)
        except _FAILURES:
            pass
        if start < self.length:
            yield from self._slices(start, rows)

    def _slices(self, start: int, rows: int) -> Iterator[pl.DataFrame]:
        """Yield the frames from row `start` on, some at a time: each slice decodes the pages at its two ends again."""
        for begin in range(start, self.length, _CHUNKS_PER_READ * rows):
            yield from _cut([self._read(begin, min(_CHUNKS_PER_READ * rows, self.length - begin))], rows)

    def read(self, start: int, rows: int) -> Chunk:
        """Read rows from row `start` on as one chunk."""
        return self._chunk(self._read(start, rows), start)

    def _read(self, start: int, rows: int) -> pl.DataFrame:
        try:
            frame = self._collect(start, rows)
        except _FAILURES as error:
            raise _unreadable(error, f"{self._where}, from row {self._find_unreadable(start, rows):,} on") from error
        if len(frame) != rows:
            raise DataError(
                f"the file says that it has {self.length:,} rows, and ends after {start + len(frame):,}",
                where=self._where,
                hint="is the file complete?",
            )
        return frame

    def _collect(self, start: int, rows: int) -> pl.DataFrame:
        return self._frame.slice(start, rows).collect()

    def _find_unreadable(self, start: int, rows: int) -> int:
        """Return the first row that cannot be read among some of which one cannot, by bisection."""
        while rows > 1:
            half = rows // 2
            try:
                self._collect(start, half)
                start, rows = start + half, rows - half
            except _FAILURES:
                rows = half
        return start

    def _chunk(self, frame: pl.DataFrame, start: int) -> Chunk:
        held = passthrough_columns(frame, self._options, self._where)
        refusals: list[Refusal] = []
        frame = null_unknown_categories(frame, self._options, start, refusals)
        end = start + len(frame)
        return Chunk(
            start=start,
            end=end,
            columns=encode_columns(frame, self._options.signature),
            passthrough=held,
            position=end,
            share=end / self.length,
            refusals=refusals,
        )


def _stream(frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of a frame as polars decodes them; it waits for the reader, so that few are in memory."""
    if hasattr(frame, "collect_batches"):  # since polars 1.34
        yield from frame.collect_batches(chunk_size=rows)


def _cut(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield frames of equal length, the last one of what is left."""
    held = pl.DataFrame()
    for frame in frames:
        held = held.vstack(frame) if len(held) else frame
        while len(held) >= rows:
            yield held.head(rows)
            held = held.slice(rows)
    if len(held):
        yield held


def _partition_columns(options: ScoringOptions, where: str) -> list[pl.Expr]:
    """Return a column for each Hive partition that the model reads; raise DataError if one should be a number."""
    kinds = {field.name: field.datatype for field in options.signature.inputs}
    found = []
    for name, text in options.partitions.items():
        if name not in kinds:
            continue
        number = parse_number(text) if text is not None and kinds[name] != BYTES else None
        if text is not None and kinds[name] != BYTES and number is None:
            raise DataError(
                f"the partition {name}={text} is not a number", where=where, hint="the model reads numbers there"
            )
        literal = pl.lit(text, dtype=pl.String) if kinds[name] == BYTES else pl.lit(number, dtype=pl.Float64)
        found.append(literal.alias(name))
    return found


def scan_arrow(path: Path) -> pl.LazyFrame:
    """Open an Arrow file lazily."""
    return pl.scan_ipc(path, glob=False)


def read_plain_csv(content: bytes, names: Sequence[str], options: ScoringOptions, start: int) -> Chunk | None:
    """Read csv lines without quotes and with one cell per column; None for other lines."""
    lines = content.count(b"\n")
    one_each = content.count(b",") == lines * (len(names) - 1) and content.count(b"\r") in (0, content.count(b"\r\n"))
    if len(names) < 2 or b'"' in content or not one_each or not content.endswith(b"\n"):
        return None
    try:
        frame = pl.read_csv(
            io.BytesIO(content),
            has_header=False,
            new_columns=names,
            infer_schema=False,
            quote_char=None,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return _chunk_of_strings(frame.select(options.names), options, start) if len(frame) == lines else None


def _chunk_of_strings(frame: pl.DataFrame, options: ScoringOptions, start: int) -> Chunk:
    held = {name: columns.string_column(frame[name].to_list()) for name in options.keep}
    refusals: list[Refusal] = []
    strings = (frame[field.name] for field in options.signature.inputs if field.datatype != BYTES)
    numbers = [_parse_numbers(item.set(_in(item, options.missing), None), start, refusals) for item in strings]
    frame = null_unknown_categories(frame.with_columns(numbers), options, start, refusals)
    return Chunk(
        start=start,
        end=start + len(frame),
        columns=encode_columns(frame, options.signature),
        passthrough=held,
        position=0,
        share=0.0,
        refusals=refusals,
    )


def _parse_numbers(strings: pl.Series, start: int, refusals: list[Refusal]) -> pl.Series:
    """Parse strings as numbers; those that polars cannot parse one by one, and refuse those that are not numbers."""
    numbers = strings.cast(pl.Float64, strict=False)
    unparsed = (numbers.is_null() & strings.is_not_null()).arg_true()
    if not len(unparsed):
        return numbers
    found = [parse_number(text) for text in strings.gather(unparsed)]
    for index, text, value in zip(unparsed, strings.gather(unparsed), found, strict=True):
        if value is None:
            refusals.append(new_refusal(start + index, strings.name, text, "not a number"))
    return numbers.scatter(unparsed, found)


def null_unknown_categories(
    frame: pl.DataFrame, options: ScoringOptions, start: int, refusals: list[Refusal]
) -> pl.DataFrame:
    """Replace strings that mean a missing value, and categories that are refused, by null."""
    for field in options.signature.inputs:
        if field.datatype != BYTES:
            continue
        strings = frame[field.name].cast(pl.String)
        unknown = _in(strings, options.missing)
        if field.unseen == "refused":
            unparsed = strings.is_not_null() & ~unknown & ~_in(strings, field.categories)
            for index in unparsed.arg_true():
                refusals.append(new_refusal(start + index, field.name, strings[index], UNKNOWN))
            unknown |= unparsed
        frame = frame.with_columns(strings.set(unknown, None))
    return frame


def passthrough_columns(frame: pl.DataFrame, options: ScoringOptions, where: str) -> Mapping[str, ArrowColumn]:
    """Return the columns to copy; raise DataError for a type other than number, string, boolean, date or time."""
    return {name: _column(frame[name], where) for name in options.keep}


def _column(series: pl.Series, where: str) -> ArrowColumn:
    if series.dtype in STRING_DTYPES:
        return columns.string_column(series.cast(pl.String).to_list())
    if not (
        series.dtype in _TIME_TYPES
        or series.dtype.is_integer()
        or series.dtype.is_float()
        or series.dtype == pl.Boolean
    ):
        raise DataError(
            f"column '{series.name}' is {series.dtype}, which cannot be copied",
            where=where,
            hint="keep numbers, strings, dates and times",
        )
    values, missing = series.to_physical(), None
    if values.null_count():
        missing = values.is_null().to_numpy()
        values = values.fill_null(False if series.dtype == pl.Boolean else 0)
    return ArrowColumn(type=_type(series.dtype), values=values.to_numpy(), missing=missing)


@cache
def _type(dtype: pl.DataType) -> nanoarrow.Schema:
    return nanoarrow.Schema(nanoarrow.c_array_stream(pl.Series("", [], dtype=dtype)).get_schema())


def _in(strings: pl.Series, words: Sequence[str]) -> pl.Series:
    return strings.is_in(list(words)).fill_null(False) if words else pl.Series(np.zeros(len(strings), dtype=np.bool_))


def _expect_type(field: Field, dtype: pl.DataType, where: str) -> None:
    is_number = dtype.is_numeric() or dtype == pl.Boolean
    is_text = dtype in STRING_DTYPES
    if dtype != pl.Null and not (is_number if field.datatype != BYTES else is_text):
        expected = "numbers" if field.datatype != BYTES else "strings"
        raise DataError(
            f"column '{field.name}' is {dtype}, the model reads {expected}", where=where, hint=f"write it as {expected}"
        )


def _unreadable(error: BaseException, where: str) -> DataError:
    panicked = isinstance(error, pl.exceptions.PanicException)
    reason = "it is malformed, and polars fails on it" if panicked else str(error).partition("\n")[0]
    return DataError(
        f"the file cannot be read: {reason}",
        where=where,
        hint="is the file complete, and of the format that its suffix names?",
    )
