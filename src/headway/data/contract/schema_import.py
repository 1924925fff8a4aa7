"""Import schemas of Frictionless Data, pandera and dataframely as contracts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.core.plugins import load_object
from headway.data.contract.table_contract import ColumnContract, ColumnType, TableContract, validate_contract


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSchema:
    """A contract, and a description of every constraint that it cannot express."""

    contract: TableContract
    unsupported: tuple[str, ...] = ()


def column_contract(name: str, fields: Mapping[str, object]) -> ColumnContract:
    """Build the contract of a column; raise ConfigError for a value that a contract cannot hold."""
    declared = {field: value for field, value in fields.items() if value not in (None, ())}
    try:
        return msgspec.convert({field: to_toml_value(value) for field, value in declared.items()}, ColumnContract)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"column '{name}' of the schema has a constraint that a contract cannot express: {error}",
            where=f"column {name}",
            hint="remove it from the schema, and add a constraint to contract.toml",
        ) from error


def to_toml_value(value: object) -> object:
    """Convert dates and times to ISO 8601 strings, also within collections."""
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(to_toml_value(item) for item in value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def next_value(end: object, kind: ColumnType, *, up: bool) -> object:
    """Return the next value inside an exclusive bound.

    >>> next_value(3, "integer", up=True)
    4
    """
    if kind == "integer" and isinstance(end, int | float):
        return math.floor(end) + 1 if up else math.ceil(end) - 1
    if kind == "number" and isinstance(end, int | float):
        return math.nextafter(float(end), math.inf if up else -math.inf)
    time = end
    if isinstance(end, str):
        time = date.fromisoformat(end) if kind == "date" else datetime.fromisoformat(end)
    if isinstance(time, datetime):
        return time + timedelta(microseconds=1) * (1 if up else -1)
    if isinstance(time, date):
        return time + timedelta(days=1) * (1 if up else -1)
    raise ConfigError(f"{end!r} is not a bound of a {kind}", hint="a number, date or time")


def contains_pattern(pattern: str) -> str:
    """Turn a pattern to search for into one that matches the whole string.

    >>> contains_pattern("b+")
    '(?s:.*)(?:b+)(?s:.*)'
    """
    return f"(?s:.*)(?:{pattern})(?s:.*)"


_FRICTIONLESS_TYPES: dict[str, ColumnType] = {
    "integer": "integer",
    "year": "integer",
    "number": "number",
    "string": "string",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}
_FRICTIONLESS_FIELDS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "minLength": "min_length",
    "maxLength": "max_length",
    "pattern": "pattern",
}
_FRICTIONLESS_CONSTRAINTS = {
    *_FRICTIONLESS_FIELDS,
    "required",
    "unique",
    "enum",
    "exclusiveMinimum",
    "exclusiveMaximum",
}


def from_frictionless(schema: Mapping[str, Any]) -> ImportedSchema:
    """Import a Frictionless Table Schema."""
    primary = _names(schema.get("primaryKey", ()))
    columns: dict[str, ColumnContract] = {}
    unsupported: list[str] = []
    unique = [primary, *(_names(key) for key in schema.get("uniqueKeys", ()))]
    for field in schema.get("fields", ()):
        name, constraints = field["name"], field.get("constraints", {})
        kind = _FRICTIONLESS_TYPES.get(field.get("type", "string"))
        if kind is None:
            unsupported.append(f"column '{name}' is of type {field['type']}")
            continue
        columns[name] = column_contract(name, _frictionless_fields(kind, constraints, needed=name in primary))
        unique += [(name,)] if constraints.get("unique") else []
        unsupported += [f"column '{name}': {name_}" for name_ in sorted(set(constraints) - _FRICTIONLESS_CONSTRAINTS)]
        unsupported += (
            [f"column '{name}': format {field['format']}"] if field.get("format", "default") != "default" else []
        )
    unsupported += [
        name_ for name_ in ("foreignKeys", "missingValues", "fieldsMatch") if schema.get(name_) not in (None, [""])
    ]
    keys = tuple(dict.fromkeys(key for key in unique if key and columns.keys() >= set(key)))
    return ImportedSchema(contract=TableContract(columns=columns, unique=keys), unsupported=tuple(unsupported))


def _frictionless_fields(kind: ColumnType, constraints: Mapping[str, Any], *, needed: bool) -> dict[str, object]:
    fields: dict[str, object] = {"type": kind, "missing": 0.0 if needed or constraints.get("required") else 1.0}
    fields |= {_FRICTIONLESS_FIELDS[name]: value for name, value in constraints.items() if name in _FRICTIONLESS_FIELDS}
    if "exclusiveMinimum" in constraints:
        fields["minimum"] = next_value(constraints["exclusiveMinimum"], kind, up=True)
    if "exclusiveMaximum" in constraints:
        fields["maximum"] = next_value(constraints["exclusiveMaximum"], kind, up=False)
    return fields | {"values": tuple(constraints.get("enum", ()))}


def _names(key: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


_DATAFRAMELY_TYPES: tuple[tuple[str, ColumnType], ...] = (
    (r"U?Int(eger|\d+)", "integer"),
    (r"Float\d*|Decimal", "number"),
    (r"String|Enum|Categorical", "string"),
    (r"Bool", "boolean"),
    (r"Date", "date"),
    (r"Datetime", "datetime"),
)
_DATAFRAMELY_FIELDS = {"min": "minimum", "max": "maximum", "min_length": "min_length", "max_length": "max_length"}
_DATAFRAMELY_VALUES = ("is_in", "categories")
_DATAFRAMELY_UNSUPPORTED = ("check", "resolution")


def _is_dataframely(schema: object) -> bool:
    return callable(getattr(schema, "columns", None)) and callable(getattr(schema, "primary_key", None))


def from_dataframely(schema: Any) -> ImportedSchema:
    """Import a dataframely schema class."""
    columns: dict[str, ColumnContract] = {}
    unsupported = [f"the table: rule {name}" for name in getattr(schema, "_schema_validation_rules", dict)()]
    for name, column in schema.columns().items():
        type_name = type(column).__name__
        kind = next((kind for form, kind in _DATAFRAMELY_TYPES if re.fullmatch(form, type_name)), None)
        if kind is None:
            unsupported.append(f"column '{name}' is of type {type_name}")
            continue
        columns[name] = column_contract(name, _dataframely_fields(column, kind))
        unsupported += [
            f"column '{name}': {attribute}"
            for attribute in _DATAFRAMELY_UNSUPPORTED
            if getattr(column, attribute, None) is not None
        ]
    key = tuple(schema.primary_key())
    unique = (key,) if key and columns.keys() >= set(key) else ()
    return ImportedSchema(contract=TableContract(columns=columns, unique=unique), unsupported=tuple(unsupported))


def _dataframely_fields(column: Any, kind: ColumnType) -> dict[str, object]:
    fields: dict[str, object] = {"type": kind, "missing": 1.0 if column.nullable and not column.primary_key else 0.0}
    fields |= {ours: getattr(column, theirs, None) for theirs, ours in _DATAFRAMELY_FIELDS.items()}
    if (low := getattr(column, "min_exclusive", None)) is not None:
        fields["minimum"] = next_value(low, kind, up=True)
    if (high := getattr(column, "max_exclusive", None)) is not None:
        fields["maximum"] = next_value(high, kind, up=False)
    for name in _DATAFRAMELY_VALUES:
        fields["values"] = fields.get("values") or tuple(getattr(column, name, None) or ())
    pattern = getattr(column, "regex", None)
    return fields | {"pattern": contains_pattern(pattern) if pattern else None}


_PANDERA_TYPES: tuple[tuple[str, ColumnType], ...] = (
    (r"u?int\d*", "integer"),
    (r"float\d*|decimal.*", "number"),
    (r"str|string.*|categorical.*|category|enum.*|object", "string"),
    (r"bool(ean)?", "boolean"),
    (r"date", "date"),
    (r"datetime.*|timestamp.*", "datetime"),
)
_PANDERA_ATTRIBUTES = (
    "dtype",
    "nullable",
    "unique",
    "required",
    "regex",
    "checks",
    "title",
    "description",
    "coerce",
    "metadata",
)
Fields = dict[str, object]
_PANDERA_CHECKS: dict[str, Callable[[Mapping[str, Any], ColumnType], Fields]] = {
    "greater_than_or_equal_to": lambda arguments, kind: {"minimum": arguments["min_value"]},
    "less_than_or_equal_to": lambda arguments, kind: {"maximum": arguments["max_value"]},
    "greater_than": lambda arguments, kind: {"minimum": next_value(arguments["min_value"], kind, up=True)},
    "less_than": lambda arguments, kind: {"maximum": next_value(arguments["max_value"], kind, up=False)},
    "in_range": lambda arguments, kind: _pandera_range(arguments, kind),
    "isin": lambda arguments, kind: {"values": tuple(arguments["allowed_values"])},
    "equal_to": lambda arguments, kind: {"values": (arguments["value"],)},
    "str_matches": lambda arguments, kind: {"pattern": f"(?:{_pattern_text(arguments['pattern'])})(?s:.*)"},
    "str_contains": lambda arguments, kind: {"pattern": contains_pattern(_pattern_text(arguments["pattern"]))},
    "str_length": lambda arguments, kind: _pandera_length(arguments),
}
_PANDERA_ARGUMENT = {
    "greater_than_or_equal_to": "min_value",
    "less_than_or_equal_to": "max_value",
    "greater_than": "min_value",
    "less_than": "max_value",
    "isin": "allowed_values",
    "equal_to": "value",
    "str_matches": "pattern",
    "str_contains": "pattern",
}
"""The argument of each check whose JSON is a single value."""


def _is_pandera(schema: object) -> bool:
    """Return True for a pandera schema or model class."""
    return hasattr(schema, "to_schema") or all(hasattr(schema, name) for name in ("columns", "checks", "strict"))


def from_pandera(schema: Any) -> ImportedSchema:
    """Import a pandera schema or model class."""
    schema = schema.to_schema() if hasattr(schema, "to_schema") else schema
    columns = {name: _pandera_column(column) for name, column in schema.columns.items()}
    checks = [str(check.name or "a custom check") for check in schema.checks]
    return _pandera_contract(columns, schema.unique, checks)


def from_pandera_json(content: Mapping[str, Any]) -> ImportedSchema:
    """Import the JSON of a pandera schema."""
    checks = [str(check) for check in content.get("checks") or ()]
    return _pandera_contract(
        {name: _pandera_column_from_json(column) for name, column in content["columns"].items()},
        content.get("unique"),
        checks,
    )


def _pandera_contract(columns: Mapping[str, dict[str, Any]], unique: Any, checks: list[str]) -> ImportedSchema:
    found: dict[str, ColumnContract] = {}
    unsupported = [f"the table: {check_}" for check_ in checks]
    names = (unique,) if isinstance(unique, str) else tuple(unique or ())
    keys = [names] if names else []
    for name, column in columns.items():
        kind = _pandera_type(str(column["dtype"]))
        if kind is None or column["regex"]:
            unsupported.append(f"column '{name}': {'names by pattern' if column['regex'] else column['dtype']}")
            continue
        fields: Fields = {"type": kind, "missing": 1.0 if column["nullable"] else 0.0}
        fields["optional"] = not column["required"]
        for check, statistics in column["checks"]:
            fields_of_check = (
                _PANDERA_CHECKS[check](statistics, kind) if check in _PANDERA_CHECKS and statistics else {}
            )
            fields_of_check = {} if fields.keys() & fields_of_check.keys() else fields_of_check
            fields |= fields_of_check
            unsupported += [] if fields_of_check else [f"column '{name}': {check}"]
        found[name] = column_contract(name, fields)
        keys += [(name,)] if column["unique"] else []
    unique_ = tuple(key for key in keys if found.keys() >= set(key))
    return ImportedSchema(contract=TableContract(columns=found, unique=unique_), unsupported=tuple(unsupported))


def _pandera_column(column: Any) -> dict[str, Any]:
    checks = [(str(check.name or "a custom check"), check.statistics) for check in column.checks]
    plain = {name: getattr(column, name) for name in ("dtype", "nullable", "unique", "required", "regex")}
    return {**plain, "checks": checks}


def _pandera_column_from_json(column: Mapping[str, Any]) -> dict[str, Any]:
    checks = {name: value for name, value in column.items() if name not in _PANDERA_ATTRIBUTES}
    named = [
        (name, value if isinstance(value, dict) else {_PANDERA_ARGUMENT.get(name, name): value})
        for name, value in checks.items()
    ]
    defaults = {"nullable": False, "unique": False, "required": True, "regex": False}
    listed: list[tuple[str, dict[str, Any]]] = [
        (str(check.get("options", {}).get("check_name", check)), {}) for check in column.get("checks") or ()
    ]
    return {
        **defaults,
        **{name: column[name] for name in _PANDERA_ATTRIBUTES if name in column},
        "checks": [*named, *listed],
    }


def _pandera_type(dtype: str) -> ColumnType | None:
    return next((kind for form, kind in _PANDERA_TYPES if re.fullmatch(form, dtype.lower())), None)


def _pandera_range(arguments: Mapping[str, Any], kind: ColumnType) -> Fields:
    low, high = arguments["min_value"], arguments["max_value"]
    lowest = low if arguments.get("include_min", True) else next_value(low, kind, up=True)
    return {
        "minimum": lowest,
        "maximum": high if arguments.get("include_max", True) else next_value(high, kind, up=False),
    }


def _pandera_length(arguments: Mapping[str, Any]) -> Fields:
    exact = arguments.get("exact_value")
    return {"min_length": exact or arguments.get("min_value"), "max_length": exact or arguments.get("max_value")}


def _pattern_text(pattern: Any) -> str:
    return str(getattr(pattern, "pattern", pattern))


_HINT = "a table schema (JSON), a schema of pandera (module:name, JSON or YAML), or one of dataframely (module:name)"


def import_schema(reference: str, folder: Path) -> ImportedSchema:
    """Import a schema by file or by `module:name`.

    Parameters
    ----------
    reference : str
        A JSON or YAML file, or `module:name` of a schema, a class, or a function that returns one. The latter
        runs the project's own code.
    folder : Path
        The project's folder.

    Raises
    ------
    ConfigError
        If the reference is not a known schema.
    PluginError
        If the schema's library is not installed.
    """
    path = folder / reference
    if path.suffix == ".json":
        content = _read_json(path)
        try:
            imported = _from_json(content)
        except (LookupError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            what = f"'{path.name}' is not a schema: {type(error).__name__}: {error}"
            raise ConfigError(what, where=str(path), hint=_HINT) from error
    elif path.suffix in (".yaml", ".yml"):
        imported = from_pandera(load_object("pandera.polars:DataFrameSchema", folder).from_yaml(_read_text(path)))
    elif ":" in reference:
        imported = _from_object(load_object(reference, folder), reference)
    else:
        raise ConfigError(f"'{reference}' is not a known schema", where=reference, hint=_HINT)
    validate_contract(imported.contract)
    return imported


def _from_json(content: Any) -> ImportedSchema:
    if isinstance(content, dict) and content.get("resources"):
        content = content["resources"][0].get("schema")
    if isinstance(content, dict) and isinstance(content.get("fields"), list):
        return from_frictionless(content)
    if isinstance(content, dict) and isinstance(content.get("columns"), dict):
        return from_pandera_json(content)
    raise ConfigError("the JSON has neither fields nor columns", hint=_HINT)


def _from_object(schema: Any, reference: str) -> ImportedSchema:
    if _is_dataframely(schema):
        return from_dataframely(schema)
    if _is_pandera(schema):
        return from_pandera(schema)
    if callable(schema) and not isinstance(schema, type):
        return _from_object(schema(), reference)
    raise ConfigError(f"'{reference}' is a {type(schema).__name__}, not a schema", where=reference, hint=_HINT)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"'{path.name}' is not JSON: {error}", where=str(path)) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"'{path.name}' cannot be read: {reason}", where=str(path)) from error
