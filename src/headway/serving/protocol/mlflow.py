"""MLflow's forms of rows and answers, read by the same checks as an infer request."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from headway.core.errors import DataError
from headway.serving.protocol.errors import encode
from headway.serving.protocol.open_inference import RequestParameters, RequestReader
from headway.serving.protocol.schemas import Predictions
from headway.serving.protocol.tensors import Value

if TYPE_CHECKING:
    from headway.core.contracts import Floats

Row = list[Value]
_Record = dict[str, Value]


class DataframeSplit(msgspec.Struct):
    """Rows beside the names of their columns."""

    columns: list[str]
    data: list[Row]


class MlflowRequest(msgspec.Struct):
    """The body of `/invocations`: rows in one of four forms; the key of their caller may stand in `params`."""

    dataframe_split: DataframeSplit | None = None
    dataframe_records: list[_Record] | None = None
    instances: list[_Record | Row] | None = None
    inputs: dict[str, list[Value]] | list[Row] | None = None
    params: RequestParameters | None = None


_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_decode = msgspec.json.Decoder(MlflowRequest).decode


def read_mlflow(reader: RequestReader, body: bytes | bytearray) -> tuple[Floats, RequestParameters]:
    """The rows of a request, float64 [n, d] in the order of the model's columns, and what is said beside them.

    Raises DataError that says what is wrong with them.
    """
    try:
        frame = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body is none that MLflow sends: {error}", hint=f"one of: {', '.join(_FORMS)}") from error
    given = [form for form in _FORMS if getattr(frame, form) is not None]
    if len(given) != 1:
        raise DataError(f"the body has {' and '.join(given) or 'no rows'}", hint=f"one of: {', '.join(_FORMS)}")
    return _rows(reader, getattr(frame, given[0]), given[0]), frame.params or RequestParameters()


def write_mlflow(values: list[float], n: int) -> bytes:
    """The body of an answer to n rows: `values` in row-major order, one a row or a list a row."""
    width = len(values) // n
    # What is not finite is null in JSON.
    rows = values if width == 1 else [values[start : start + width] for start in range(0, len(values), width)]
    return encode(Predictions(rows))  # type: ignore[arg-type] # floats among `float | None`


def _rows(reader: RequestReader, given: DataframeSplit | Sequence[_Record | Row] | dict[str, Row], form: str) -> Floats:
    if isinstance(given, DataframeSplit):
        return reader.table(*_columns(given.columns, given.data, form))
    if isinstance(given, dict):
        lengths = {len(values) for values in given.values()}
        if len(lengths) != 1:
            raise DataError(f"the columns have {sorted(lengths)} values", where=form, hint="as many in each")
        return reader.table(given, lengths.pop())
    records = [row for row in given if isinstance(row, dict)]
    lists = [row for row in given if isinstance(row, list)]
    if lists and records:
        raise DataError("some rows are lists and some are records", where=form, hint="all of one kind")
    if lists:
        return reader.matrix(list(chain.from_iterable(_even(lists, len(lists[0]), form))), len(lists))
    names = list(dict.fromkeys(chain.from_iterable(records)))
    return reader.table(*_columns(names, [[record.get(name) for name in names] for record in records], form))


def _columns(names: Sequence[str], rows: Sequence[Row], form: str) -> tuple[dict[str, Row], int]:
    """The values by column; a name that a record lacks is missing in it."""
    if not rows or not names:
        raise DataError(f"there is no {'column' if rows else 'row'}", where=form)
    if len(set(names)) != len(names):
        raise DataError(f"a column is there twice: {', '.join(names)}", where=form)
    columns = zip(*_even(rows, len(names), form), strict=True)
    return dict(zip(names, map(list, columns), strict=True)), len(rows)


def _even(rows: Sequence[Row], width: int, form: str) -> Sequence[Row]:
    for number, row in enumerate(rows):
        if len(row) != width:
            raise DataError(f"row {number} has {len(row)} values, expected {width}", where=form)
    return rows
