"""The contract of a table: the records behind `contract.toml`, their parser and their validation."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import polars as pl
from msgspec import Meta

from headway.core.config import Config, file_and_line, read_toml
from headway.core.errors import ConfigError
from headway.core.record import FormerValues, Record
from headway.core.renamed import current_form, warn_renamed
from headway.data.settings.data import DataSection
from headway.storage.atomic import write

ORDERED_TYPES = ("number", "integer", "date", "datetime")
ColumnType = Literal["number", "integer", "string", "boolean", "date", "datetime"]
Bound = int | float | str
"""The end of a range; dates and times as strings in ISO 8601."""


class ColumnContract(Record, frozen=True, kw_only=True):
    """Constraints on one column.

    `missing` is the largest allowed share of rows without a value, from 0 (none) to 1 (all). An `optional` column
    may be absent from a table. `minimum`, `maximum`, `min_length` and `max_length` are inclusive. `pattern` is a
    regular expression that must match the whole string; lengths are in characters.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "lowest": "minimum",
        "highest": "maximum",
        "shortest": "min_length",
        "longest": "max_length",
    }
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "type": {"whole": "integer", "text": "string", "time": "datetime"}
    }

    type: ColumnType
    optional: bool = False
    missing: Annotated[float, Meta(ge=0, le=1)] = 0.0
    minimum: Bound | None = None
    maximum: Bound | None = None
    values: tuple[bool | Bound, ...] = ()
    pattern: str = ""
    min_length: Annotated[int, Meta(ge=0)] | None = None
    max_length: Annotated[int, Meta(ge=0)] | None = None


class TableContract(Record, frozen=True, kw_only=True):
    """Constraints on a table: its columns, unique keys, and relations between columns.

    A relation is `a <= b`, `a < b`, `a == b`, `a + b == c` or `a, b -> c` (rows equal in a and b are equal in c).
    Rows with a missing value in a key or relation are not checked against it.
    """

    columns: dict[str, ColumnContract] = {}
    unique: tuple[tuple[str, ...], ...] = ()
    relations: tuple[str, ...] = ()


_NAME = r"\s*(`[^`]+`|[^\W\d]\w*)\s*"
_ORDER = re.compile(rf"{_NAME}(<=|<|==){_NAME}")
_SUM = re.compile(rf"{_NAME}\+{_NAME}=={_NAME}")
_DEPENDENCY = re.compile(rf"({_NAME}(?:,{_NAME})*)->{_NAME}")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A relation between columns; `left` has one column, two for a sum, or the determining columns."""

    kind: Literal["<=", "<", "==", "+", "->"]
    left: tuple[str, ...]
    right: str

    def __str__(self) -> str:
        left, right = [quote_column(name) for name in self.left], quote_column(self.right)
        if self.kind == "+":
            return f"{' + '.join(left)} == {right}"
        return f"{', '.join(left)} {self.kind} {right}"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the relation."""
        return (*self.left, self.right)


def parse_relation(text: str) -> Relation:
    """Parse a relation; raise ConfigError if the text is not one.

    >>> parse_relation("start <= `end of stay`").columns
    ('start', 'end of stay')
    """
    if found := _SUM.fullmatch(text):
        return Relation(kind="+", left=(_unquote(found[1]), _unquote(found[2])), right=_unquote(found[3]))
    if found := _ORDER.fullmatch(text):
        kind: Literal["<=", "<", "=="] = "<=" if found[2] == "<=" else "<" if found[2] == "<" else "=="
        return Relation(kind=kind, left=(_unquote(found[1]),), right=_unquote(found[3]))
    if found := _DEPENDENCY.fullmatch(text):
        left = tuple(_unquote(name) for name in re.findall(_NAME, found[1]))
        return Relation(kind="->", left=left, right=_unquote(found[found.re.groups]))
    raise ConfigError(
        f"{text!r} is not a relation between columns",
        where="relations",
        hint="a <= b, a < b, a == b, a + b == c or a, b -> c; `names with spaces` in backquotes",
    )


def quote_column(name: str) -> str:
    """Quote a column name for use in a relation, if needed."""
    return name if _IDENTIFIER.fullmatch(name) else f"`{name}`"


def _unquote(name: str) -> str:
    return name.strip("`")


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_FIELDS_HINT = "docs/contract.md lists the fields"
_STRING_FIELDS = ("pattern", "min_length", "max_length")


def load_project_contract(config: Config) -> TableContract | None:
    """Load the contract of a project; None if it has no contract file."""
    path = config.path(config[DataSection].contract)
    return load_contract(path) if path.is_file() else None


def load_contract(path: Path) -> TableContract:
    """Load a contract from a file; raise ConfigError, naming file and column, if it is invalid.

    Former names of fields and types are accepted with a warning.
    """

    def notice(where: str, old: str, new: str) -> None:
        warn_renamed(f"{path.name}, {where}", old, new)

    try:
        tables = read_toml(path)
    except OSError as error:
        raise _invalid(path, error) from error
    except ConfigError as error:
        raise ConfigError(error.what, where=error.where, hint=error.hint or _FIELDS_HINT) from error
    try:
        values = current_form(tables, TableContract, notice)
        _expect_fields(values)
        found = msgspec.convert(_to_msgspec(values), TableContract)
        validate_contract(found)
    except msgspec.ValidationError as error:
        raise _invalid(path, error) from error
    except ConfigError as error:
        table = re.match(r"\[(.+)\]", error.where)
        written = file_and_line(path, table[1]) if table else path
        raise ConfigError(error.what, where=f"{written}, {error.where}", hint=error.hint) from error
    return found


def _invalid(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"'{path.name}' is not a valid contract: {error}", where=str(path), hint=_FIELDS_HINT)


def _expect_fields(values: Mapping[str, Any]) -> None:
    """Raise ConfigError, with the nearest field, for a field that contracts do not have."""
    columns = values.get("columns", {})
    tables: list[tuple[str, Any, type[Record]]] = [("the top level", values, TableContract)]
    if isinstance(columns, dict):
        tables += [(f"[columns.{name}]", terms, ColumnContract) for name, terms in columns.items()]
    for where, table, kind in tables:
        fields = kind.__struct_fields__
        unknown = [name for name in table if name not in fields] if isinstance(table, dict) else []
        if unknown:
            near = difflib.get_close_matches(unknown[0], fields, 1)
            hint = f"{near[0]} in place of {unknown[0]}" if near else f"one of {', '.join(fields)}"
            raise ConfigError(f"unknown field '{unknown[0]}'", where=where, hint=hint)


def save_contract(contract: TableContract, path: Path, *, about: Sequence[str]) -> Path:
    """Write a contract atomically, with comment lines at the top."""
    write(path, contract_to_toml(contract, about=about).encode())
    return path


def contract_to_toml(contract: TableContract, *, about: Sequence[str] = ()) -> str:
    """Format a contract as TOML; defaults are left out, except `missing`."""
    lines = [f"# {line}" for line in about]
    if contract.unique:
        lines += ["", "unique = [", *(f"  {_toml_value(key)}," for key in contract.unique), "]"]
    if contract.relations:
        lines += ["", "relations = [", *(f"  {_toml_value(text)}," for text in contract.relations), "]"]
    for name, terms in contract.columns.items():
        lines += ["", f"[columns.{name if _BARE.fullmatch(name) else _toml_value(name)}]", *_column_lines(terms)]
    return "\n".join(lines) + "\n"


def validate_contract(contract: TableContract) -> None:
    """Raise ConfigError if a contract contradicts itself or uses a constraint that a type does not have."""
    for name, terms in contract.columns.items():
        _expect_terms(name, terms)
    for key in contract.unique:
        _expect_named(key, contract, where="unique")
    for text in contract.relations:
        relation, where = parse_relation(text), f"relations, {text!r}"
        _expect_named(relation.columns, contract, where=where)
        types = (contract.columns[name].type for name in relation.columns)
        kinds = {"number" if kind == "integer" else kind for kind in types}
        ordered = {"number", "date", "datetime"}
        supported = {"+": {"number"}, "<": ordered, "<=": ordered}.get(relation.kind, kinds)
        if relation.kind != "->" and (len(kinds) > 1 or not kinds <= supported):
            hint = "numbers with numbers, dates with dates, datetimes with datetimes"
            raise ConfigError(f"this relation does not apply to {' and '.join(sorted(kinds))}", where=where, hint=hint)


def _expect_named(names: Sequence[str], contract: TableContract, *, where: str) -> None:
    unknown = [name for name in names if name not in contract.columns]
    if unknown or not names:
        near = difflib.get_close_matches(unknown[0], contract.columns, 1) if unknown else []
        message = f"'{unknown[0]}' is not one of its columns" if unknown else "a key has no column"
        raise ConfigError(message, where=where, hint=near[0] if near else "name a column of [columns]")


def _expect_terms(name: str, terms: ColumnContract) -> None:
    where = f"[columns.{name}]"
    bounds = [parse_bound(terms, bound, where=where) for bound in (terms.minimum, terms.maximum) if bound is not None]
    if bounds and terms.type not in ORDERED_TYPES:
        raise ConfigError(f"{with_article(terms.type)} has no range", where=where, hint="values, or another type")
    min_length = terms.min_length or 0
    if not pl.Series(bounds, strict=False).is_sorted() or min_length > (terms.max_length or min_length):
        raise ConfigError("the lower bound is above the upper bound", where=where, hint="exchange the two")
    fields = [field for field in _STRING_FIELDS if getattr(terms, field) not in ("", None)]
    if fields and terms.type != "string":
        message = f"{with_article(terms.type)} has no '{fields[0]}'"
        raise ConfigError(message, where=where, hint='type = "string"')
    for value in terms.values:
        parse_bound(terms, value, where=f"{where} values")
    try:
        pl.Series([""]).str.contains(terms.pattern)
    except pl.exceptions.ComputeError as error:
        hint = "the regular expressions of Rust: no look-around, no back references"
        raise ConfigError(f"{terms.pattern!r} is not a regular expression: {error}", where=where, hint=hint) from error


def _to_msgspec(value: Any) -> Any:
    """Convert the dates and times of TOML to ISO 8601 strings."""
    if isinstance(value, dict):
        return {name: _to_msgspec(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_to_msgspec(item) for item in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


def _column_lines(terms: ColumnContract) -> list[str]:
    defaults = ColumnContract(type=terms.type)
    fields = [field for field in ColumnContract.__struct_fields__ if field not in ("type", "missing")]
    changed = [field for field in fields if getattr(terms, field) != getattr(defaults, field)]
    return [f"{field} = {_toml_value(getattr(terms, field))}" for field in ("type", "missing", *changed)]


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def parse_bound(
    terms: ColumnContract, value: bool | Bound, *, where: str
) -> bool | int | float | str | date | datetime:
    """Convert a value of the contract to the type of its column; raise ConfigError if it does not fit."""
    if terms.type in ("number", "integer") and isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if terms.type == "string" and isinstance(value, str):
        return value
    if terms.type == "boolean" and isinstance(value, bool):
        return value
    if terms.type in ("date", "datetime") and isinstance(value, str):
        try:
            return date.fromisoformat(value) if terms.type == "date" else _parse_datetime(value)
        except ValueError:
            pass
    expected = with_article(terms.type)
    examples = {"date": '"2024-03-31"', "datetime": '"2024-03-31T17:05:00", without a time zone'}
    raise ConfigError(f"{value!r} is not {expected}", where=where, hint=examples.get(terms.type, expected))


def _parse_datetime(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError("a bound has no time zone")
    return found


def with_article(type_name: ColumnType) -> str:
    """Return the name of a type with its article: `an integer`, `a date`."""
    return f"an {type_name}" if type_name == "integer" else f"a {type_name}"
