"""MLflow's scoring protocol: rows and outputs in its forms, read with the same checks as an infer request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from headway.core.errors import DataError
from headway.serving.batching.answers import RowAnswers
from headway.serving.protocol.admission import admit_frames
from headway.serving.protocol.errors import encode
from headway.serving.protocol.open_inference import RequestParameters, RequestReader
from headway.serving.protocol.schemas import Predictions
from headway.serving.protocol.tensors import Value

if TYPE_CHECKING:
    from headway.core.contracts import Floats

Row = list[Value]
_Record = dict[str, Value]


class DataframeSplit(msgspec.Struct):
    """Rows, and the names of their columns."""

    columns: list[str]
    data: list[Row]


class MlflowRequest(msgspec.Struct):
    """Body of `/invocations`: rows in one of four forms; `params` may hold the key of the caller."""

    dataframe_split: DataframeSplit | None = None
    dataframe_records: list[_Record] | None = None
    instances: list[_Record | Row] | None = None
    inputs: dict[str, list[Value]] | list[Row] | None = None
    params: RequestParameters | None = None


_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_LEFT_OUT, _LEFT_OUT_SHARE = 100_000, 4  # values that records may leave out, or a multiple of those that they contain
_decode = msgspec.json.Decoder(MlflowRequest).decode


def read_mlflow(reader: RequestReader, body: bytes | bytearray) -> tuple[Floats, RequestParameters]:
    """Decode the rows of a request, float64 [n, d] in the order of the model's columns, and its parameters.

    Raises DataError if the body or its rows cannot be read.
    """
    admit_frames(body, max_columns=reader.max_inputs)
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body is not an MLflow request: {error}", hint=f"one of: {', '.join(_FORMS)}") from error
    forms = [form for form in _FORMS if getattr(request, form) is not None]
    if len(forms) != 1:
        raise DataError(f"the body has {' and '.join(forms) or 'no rows'}", hint=f"one of: {', '.join(_FORMS)}")
    parameters = request.params or RequestParameters()
    reader.limits.require_name("the key of the request", parameters.key)
    return _rows(reader, getattr(request, forms[0]), forms[0]), parameters


def write_mlflow(values: list[float], n: int, *, output: str = "", answers: RowAnswers | None = None) -> bytes:
    """Encode a response to n rows from outputs in row-major order: one value a row, or a list a row.

    With the answers of a release with an answer plan, a row is a record of all outputs by name.
    """
    width = len(values) // n
    # Values that are not finite are null in JSON.
    rows = values if width == 1 else [values[start : start + width] for start in range(0, len(values), width)]
    if answers is not None:
        names = (output, *(name for name, *_ in answers.outputs()))
        columns = (rows, *(found for *_, found in answers.outputs()))
        return encode({"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]})
    return encode(Predictions(rows))  # type: ignore[arg-type] # floats among `float | None`


def _rows(reader: RequestReader, data: DataframeSplit | Sequence[_Record | Row] | dict[str, Row], form: str) -> Floats:
    if isinstance(data, DataframeSplit):
        return reader.table(*_columns(data.columns, data.data, form))
    if isinstance(data, dict):
        lengths = {len(values) for values in data.values()}
        if len(lengths) != 1:
            raise DataError(f"the columns have {sorted(lengths)} values", where=form, hint="columns of equal length")
        return reader.table(data, lengths.pop())
    records = [row for row in data if isinstance(row, dict)]
    lists = [row for row in data if isinstance(row, list)]
    if lists and records:
        raise DataError("some rows are lists and some are records", where=form, hint="rows of one kind")
    if lists:
        return reader.matrix(list(chain.from_iterable(_equal_length(lists, len(lists[0]), form))), len(lists))
    names = list(dict.fromkeys(chain.from_iterable(records)))
    reader.require_columns(names)
    reader.limits.require_rows(len(records))
    n_present = sum(map(len, records))
    left_out = len(records) * len(names) - n_present
    if left_out > max(_LEFT_OUT, _LEFT_OUT_SHARE * n_present):
        raise DataError(
            f"the records leave out {left_out} values", where=form, hint="dataframe_split with null for them"
        )
    return reader.table(*_columns(names, [[record.get(name) for name in names] for record in records], form))


def _columns(names: Sequence[str], rows: Sequence[Row], form: str) -> tuple[dict[str, Row], int]:
    """Return the values by column and the number of rows."""
    if not rows or not names:
        raise DataError(f"the request has no {'columns' if rows else 'rows'}", where=form)
    if len(set(names)) != len(names):
        raise DataError(f"a column occurs twice: {', '.join(names)}", where=form)
    columns = zip(*_equal_length(rows, len(names), form), strict=True)
    return dict(zip(names, map(list, columns), strict=True)), len(rows)


def _equal_length(rows: Sequence[Row], width: int, form: str) -> Sequence[Row]:
    for number, row in enumerate(rows):
        if len(row) != width:
            raise DataError(f"row {number} has {len(row)} values, expected {width}", where=form)
    return rows
