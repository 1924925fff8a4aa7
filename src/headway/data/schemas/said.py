"""What a schema of another tool says as a contract, and what of it a contract cannot say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec

from headway.core.errors import ConfigError
from headway.data.contract.terms import ColumnContract, ColumnType, TableContract


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSchema:
    """A contract, and in words what the schema says beside it: nothing of a schema is left out in silence."""

    contract: TableContract
    unsupported: tuple[str, ...] = ()


def column_contract(name: str, fields: Mapping[str, object]) -> ColumnContract:
    """The terms of a column; raises ConfigError where a value is none that a contract can hold."""
    given = {field: value for field, value in fields.items() if value not in (None, ())}
    try:
        return msgspec.convert({field: to_toml_value(value) for field, value in given.items()}, ColumnContract)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"column '{name}' of the schema says what no contract can: {error}",
            where=f"column {name}",
            hint="leave that out of the schema, and write it into contract.toml",
        ) from error


def to_toml_value(value: object) -> object:
    """A value as a contract writes it: dates and times as text."""
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(to_toml_value(each) for each in value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def next_value(end: object, kind: ColumnType, *, up: bool) -> object:
    """The next value after an end that is not inside itself.

    >>> beyond(3, "whole", up=True)
    4
    """
    if kind == "whole" and isinstance(end, int | float):
        return math.floor(end) + 1 if up else math.ceil(end) - 1
    if kind == "number" and isinstance(end, int | float):
        return math.nextafter(float(end), math.inf if up else -math.inf)
    moment = end
    if isinstance(end, str):
        moment = date.fromisoformat(end) if kind == "date" else datetime.fromisoformat(end)
    if isinstance(moment, datetime):
        return moment + timedelta(microseconds=1) * (1 if up else -1)
    if isinstance(moment, date):
        return moment + timedelta(days=1) * (1 if up else -1)
    raise ConfigError(f"{end!r} is the end of no range of a {kind}", hint="a number, date or time")


def contains_pattern(pattern: str) -> str:
    """A pattern for whole texts of one that need only be found in them.

    >>> found_in("b+")
    '(?s:.*)(?:b+)(?s:.*)'
    """
    return f"(?s:.*)(?:{pattern})(?s:.*)"
