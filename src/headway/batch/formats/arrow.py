"""Arrow IPC: streams by nanoarrow, files by polars if it is installed; written as a stream."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import nanoarrow
import numpy as np
from nanoarrow import Type
from nanoarrow.ipc import InputStream, StreamWriter

from headway.batch import columns
from headway.batch.columns import check_columns, rank_categories, refuse_invalid_utf8
from headway.core.batch import ArrowColumn, Chunk, Refusal, Scan, ScoringOptions
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.serving.protocol.tensors import BYTES, string_codes
from headway.storage.arrow_messages import MalformedMessage, check_messages

if TYPE_CHECKING:
    from headway.core.arrays import Floats

try:
    from headway.batch import polars_reader
except ModuleNotFoundError:  # without polars only streams are read
    polars_reader = None  # type: ignore[assignment]

_FILE = b"ARROW1"
_NUMBERS = {
    Type.BOOL: "?",
    **dict(zip((Type.INT8, Type.INT16, Type.INT32, Type.INT64), ("i1", "i2", "i4", "i8"), strict=True)),
    **dict(zip((Type.UINT8, Type.UINT16, Type.UINT32, Type.UINT64), ("u1", "u2", "u4", "u8"), strict=True)),
    **dict(zip((Type.HALF_FLOAT, Type.FLOAT, Type.DOUBLE), ("f2", "f4", "f8"), strict=True)),
}
_TIMES = {
    Type.DATE32: "i4",
    Type.TIME32: "i4",
    **dict.fromkeys((Type.DATE64, Type.TIME64, Type.TIMESTAMP, Type.DURATION), "i8"),
}
_STORED = _NUMBERS | _TIMES
_STRING_TYPES = frozenset({Type.STRING, Type.LARGE_STRING})
_WRITE_STREAM = "frame.write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())"


class ArrowScan:
    """Stream of Arrow batches; the position of a row is its number."""

    def __init__(self, path: Path, options: ScoringOptions) -> None:
        self._path, self._options, where = path, options, str(path)
        with path.open("rb") as file:
            _check_messages(file, where)
            fields = _fields(_stream(file, path), where)
        types = dict(fields)
        check_columns([name for name, _ in fields], options, where)
        for field in options.signature.inputs:
            _expect_type(field, types[field.name], where)
        self._ranks = [(field, string_codes(field)) for field in options.signature.inputs]
        self.passthrough: Mapping[str, ArrowColumn] = {name: _empty_column(types[name], where) for name in options.keep}

    def chunks(self, start: int, position: int) -> Iterator[Chunk]:
        """Yield chunks of equal length from row `start`, which is the position as well."""
        max_rows, size = (
            columns.chunk_rows(len(self._ranks), has_texts=any(field.is_text for field, _ in self._ranks)),
            self._path.stat().st_size,
        )
        with self._path.open("rb") as file:
            held, row = list[Chunk](), 0
            for batch in _batches(file, self._path):
                row += len(batch)
                if row <= start:
                    continue
                held.append(self._piece(batch, row - len(batch), file.tell() / size))
                while held and held[-1].end - max(held[0].start, start) >= max_rows:
                    chunk, held = _first(held, start, max_rows)
                    yield chunk
                    start = chunk.end
            if held:
                yield _first(held, start, max_rows)[0]

    def _piece(self, batch: Any, start: int, share: float) -> Chunk:
        """Return a batch of the file as a chunk."""
        arrays = {nanoarrow.Schema(child.schema).name: child for child in batch.children}
        if any(len(arrays[name]) != len(batch) for name in self._options.names):
            raise DataError(
                "the columns of a batch differ in length",
                where=f"{self._path}, from row {start:,} on",
                hint="write it again",
            )
        refusals: list[Refusal] = []
        numbers = []
        for field, ranks in self._ranks:
            if ranks is None:
                numbers.append(_floats(_column(arrays[field.name], start, refusals)))
            else:
                words = self._options.missing
                strings = _strings(arrays[field.name], start, refusals)
                strings = [None if text in words else text for text in strings]
                numbers.append(np.array(rank_categories(field, ranks, strings, start, refusals), dtype=np.float64))
        held = {name: _column(arrays[name], start, refusals) for name in self._options.keep}
        end = start + len(batch)
        return Chunk(
            start=start,
            end=end,
            columns=[[column] for column in numbers],
            passthrough=held,
            position=end,
            share=share,
            refusals=refusals,
        )


class Arrow:
    """Reads Arrow streams, and files if polars is installed; writes streams."""

    def scan(self, path: Path, options: ScoringOptions) -> Scan:
        """Open an Arrow file or stream."""
        with path.open("rb") as file:
            is_file = file.read(len(_FILE)) == _FILE
        if not is_file:
            return ArrowScan(path, options)
        if polars_reader is None:
            raise DataError("an Arrow file needs polars, an Arrow stream does not", where=str(path), hint=_WRITE_STREAM)
        return polars_reader.PolarsScan(polars_reader.scan_arrow(path), options, path)

    def encode(self, columns_: Mapping[str, ArrowColumn]) -> bytes:
        """Encode one batch of a stream, without the schema and the end marker."""
        return _encoded(columns.to_arrow_table(columns_), schema=False, end=False)

    def join(
        self, parts: Sequence[Path], out: Path, empty: Mapping[str, ArrowColumn], about: Mapping[str, str]
    ) -> None:
        """Write the schema, the batches, and the end of the stream."""
        table = columns.to_arrow_table(empty, about)
        with out.open("wb") as file:
            file.write(_encoded(table, schema=True, end=False))
            for part in parts:
                with part.open("rb") as batch:
                    shutil.copyfileobj(batch, file)
            file.write(_encoded(table, schema=False, end=True))


def _encoded(table: Any, *, schema: bool, end: bool) -> bytes:
    content = io.BytesIO()
    writer = StreamWriter.from_writable(content)
    writer.write_stream(nanoarrow.c_array_stream(table), write_schema=schema)
    if end:
        writer.close()
    else:
        writer.release()
    return content.getvalue()


def _first(pieces: Sequence[Chunk], start: int, max_rows: int) -> tuple[Chunk, list[Chunk]]:
    """Split a chunk of at most `max_rows` rows, from row `start`, off consecutive pieces."""
    end = min(start + max_rows, pieces[-1].end)
    cuts = [slice(max(start - piece.start, 0), min(end, piece.end) - piece.start) for piece in pieces]
    copied = {
        name: columns.concat_columns(
            [
                columns.slice_column(piece.passthrough[name], part.start, part.stop)
                for piece, part in zip(pieces, cuts, strict=True)
            ]
        )
        for name in pieces[0].passthrough
    }
    chunk = Chunk(
        start=start,
        end=end,
        columns=[
            [arrays[0][part] for arrays, part in zip(column, cuts, strict=True)]
            for column in zip(*(piece.columns for piece in pieces), strict=True)
        ],
        passthrough=copied,
        position=end,
        share=pieces[-1].share,
        refusals=[refusal for piece in pieces for refusal in piece.refusals if start <= refusal.row < end],
    )
    return chunk, [piece for piece in pieces if piece.end > end]


def _check_messages(file: BinaryIO, where: str) -> None:
    try:
        check_messages(file)
    except MalformedMessage as error:
        raise DataError(f"the file cannot be read: {error}", where=where, hint="write it again") from error
    file.seek(0)


def _stream(file: BinaryIO, path: Path) -> Any:
    try:
        return nanoarrow.c_array_stream(InputStream.from_readable(file))
    except RuntimeError as error:
        hint = _WRITE_STREAM if "View" in str(error) else "is it a complete Arrow file?"
        raise DataError(f"the file cannot be read: {error}", where=str(path), hint=hint) from error


def _batches(file: BinaryIO, path: Path) -> Iterator[Any]:
    """Yield the batches, and close the stream: closing it during an exception can crash Python under a tracer."""
    with _stream(file, path) as stream:
        row = 0
        while (batch := _next(stream, path, row)) is not None:
            row += len(batch)
            yield batch


def _next(stream: Any, path: Path, row: int) -> Any:
    """Return the next batch, which begins at a row, or None after the last."""
    try:
        return stream.get_next()
    except StopIteration:
        return None
    except RuntimeError as error:
        hint = "is the file complete? Compressed dictionaries are not supported: write it with compression=None"
        raise DataError(f"the file cannot be read: {error}", where=f"{path}, from row {row:,} on", hint=hint) from error


def _fields(stream: Any, where: str) -> list[tuple[str, Any]]:
    """Return the columns of a stream with their types; raise DataError if a name is not UTF-8."""
    try:
        return [(field.name, field) for field in nanoarrow.Schema(stream.get_schema()).fields]
    except UnicodeDecodeError as error:
        raise DataError("the name of a column is not UTF-8", where=where, hint="rename it") from error


def _value_type(schema: Any) -> Any:
    """Return the type of a column's values; for a dictionary, that of its entries."""
    return schema.value_type if schema.type == Type.DICTIONARY else schema


def _expect_type(field: Field, schema: Any, where: str) -> None:
    met = _value_type(schema).type
    expected = "strings" if field.datatype == BYTES else "numbers"
    if met != Type.NULL and met not in (_STRING_TYPES if field.datatype == BYTES else _NUMBERS):
        raise DataError(
            f"column '{field.name}' is {met.name.lower()}, the model reads {expected}",
            where=where,
            hint=f"write it as {expected}",
        )


def _empty_column(schema: Any, where: str) -> ArrowColumn:
    """Return a column of that type without rows; raise DataError for a type that cannot be copied."""
    met = _value_type(schema).type
    if met in _STRING_TYPES:
        return columns.string_column([])
    if met not in _STORED or schema.type == Type.DICTIONARY:
        raise DataError(
            f"column '{schema.name}' is {met.name.lower()}, which cannot be copied",
            where=where,
            hint="keep numbers, strings, dates and times",
        )
    return ArrowColumn(type=schema, values=np.empty(0, dtype=_STORED[met]))


def _column(array: Any, start: int, refusals: list[Refusal]) -> ArrowColumn:
    schema = nanoarrow.Schema(array.schema)
    if _value_type(schema).type in _STRING_TYPES:
        return columns.string_column(_strings(array, start, refusals))
    if schema.type == Type.NULL:
        return ArrowColumn(type=nanoarrow.float64(), values=np.full(len(array), np.nan))
    validity, stored = nanoarrow.Array(array).buffers
    rows = slice(array.offset, array.offset + len(array))
    missing = ~_bits(validity, rows) if validity.size_bytes and array.null_count else None
    is_bits = schema.type == Type.BOOL
    values = _bits(stored, rows) if is_bits else np.frombuffer(stored, dtype=_STORED[schema.type])[rows]
    return ArrowColumn(type=schema, values=values, missing=missing)


def _bits(buffer: Any, rows: slice) -> Any:
    bits = np.unpackbits(np.frombuffer(buffer, dtype=np.uint8), bitorder="little")
    return bits[rows].astype(np.bool_)


def _strings(array: Any, start: int, refusals: list[Refusal]) -> list[str | None]:
    """Return the strings of a column; append a refusal for each that is not UTF-8, from row `start` on."""
    try:
        strings: list[str | None] = nanoarrow.Array(array).to_pylist()
    except UnicodeDecodeError:
        strings = _decoded(array)
        refusals += refuse_invalid_utf8(nanoarrow.Schema(array.schema).name, strings, start)
    return strings


def _decoded(array: Any) -> list[str | None]:
    """Return the strings of a column, with lone surrogates for bytes that are not UTF-8."""
    schema, (validity, *stored) = nanoarrow.Schema(array.schema), nanoarrow.Array(array).buffers
    if schema.type == Type.DICTIONARY:
        indices = nanoarrow.c_array_from_buffers(
            schema.index_type, len(array), [_or_none(validity), stored[0]], offset=array.offset
        )
        words = _decoded(array.dictionary)
        return [None if index is None else words[index] for index in nanoarrow.Array(indices).to_pylist()]
    kind = nanoarrow.large_binary() if schema.type == Type.LARGE_STRING else nanoarrow.binary()
    raw = nanoarrow.c_array_from_buffers(kind, len(array), [_or_none(validity), *stored], offset=array.offset)
    return [value and value.decode(errors="surrogateescape") for value in nanoarrow.Array(raw).to_pylist()]


def _or_none(validity: Any) -> Any:
    return validity if validity.size_bytes else None


def _floats(column: ArrowColumn) -> Floats:
    values: Floats = np.asarray(column.values).astype(np.float64)
    if column.missing is not None:
        values[column.missing] = np.nan
    return values


plugin = Arrow()
