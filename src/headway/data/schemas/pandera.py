"""A schema of pandera as a contract: an object, its model class, or what its `to_json` writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from headway.data.contract.terms import ColumnContract, ColumnType, TableContract
from headway.data.schemas.said import ImportedSchema, column_contract, contains_pattern, next_value

TYPES: tuple[tuple[str, ColumnType], ...] = (
    (r"u?int\d*", "whole"),
    (r"float\d*|decimal.*", "number"),
    (r"str|string.*|categorical.*|category|enum.*|object", "text"),
    (r"bool(ean)?", "boolean"),
    (r"date", "date"),
    (r"datetime.*|timestamp.*", "time"),
)
OF_COLUMN = ("dtype", "nullable", "unique", "required", "regex", "checks", "title", "description", "coerce", "metadata")
Fields = dict[str, object]
TAKEN: dict[str, Callable[[Mapping[str, Any], ColumnType], Fields]] = {
    "greater_than_or_equal_to": lambda said, kind: {"lowest": said["min_value"]},
    "less_than_or_equal_to": lambda said, kind: {"highest": said["max_value"]},
    "greater_than": lambda said, kind: {"lowest": next_value(said["min_value"], kind, up=True)},
    "less_than": lambda said, kind: {"highest": next_value(said["max_value"], kind, up=False)},
    "in_range": lambda said, kind: _range(said, kind),
    "isin": lambda said, kind: {"values": tuple(said["allowed_values"])},
    "equal_to": lambda said, kind: {"values": (said["value"],)},
    "str_matches": lambda said, kind: {"pattern": f"(?:{_text(said['pattern'])})(?s:.*)"},
    "str_contains": lambda said, kind: {"pattern": contains_pattern(_text(said["pattern"]))},
    "str_length": lambda said, kind: _length(said),
}
ALONE = {
    "greater_than_or_equal_to": "min_value",
    "less_than_or_equal_to": "max_value",
    "greater_than": "min_value",
    "less_than": "max_value",
    "isin": "allowed_values",
    "equal_to": "value",
    "str_matches": "pattern",
    "str_contains": "pattern",
}
"""The name of what a check says, where JSON has it alone."""


def is_schema(schema: object) -> bool:
    """Whether it is a schema of pandera, or a class of its models."""
    return hasattr(schema, "to_schema") or all(hasattr(schema, name) for name in ("columns", "checks", "strict"))


def contract_of(schema: Any) -> ImportedSchema:
    """The contract that a schema, or a model class, says."""
    schema = schema.to_schema() if hasattr(schema, "to_schema") else schema
    columns = {name: _plain(column) for name, column in schema.columns.items()}
    checks = [str(check.name or "a check of its own") for check in schema.checks]
    return _said(columns, schema.unique, checks)


def contract_of_json(said: Mapping[str, Any]) -> ImportedSchema:
    """The contract that a schema as JSON says."""
    checks = [str(each) for each in said.get("checks") or ()]
    return _said({name: _unfolded(column) for name, column in said["columns"].items()}, said.get("unique"), checks)


def _said(columns: Mapping[str, dict[str, Any]], unique: Any, checks: list[str]) -> ImportedSchema:
    found: dict[str, ColumnContract] = {}
    unsupported = [f"the table: {each}" for each in checks]
    names = (unique,) if isinstance(unique, str) else tuple(unique or ())
    keys = [names] if names else []
    for name, column in columns.items():
        kind = _kind(str(column["dtype"]))
        if kind is None or column["regex"]:
            unsupported.append(f"column '{name}': {'names by pattern' if column['regex'] else column['dtype']}")
            continue
        fields: Fields = {"type": kind, "missing": 1.0 if column["nullable"] else 0.0}
        fields["optional"] = not column["required"]
        for check, statistics in column["checks"]:
            taken = TAKEN[check](statistics, kind) if check in TAKEN and statistics else {}
            taken = {} if fields.keys() & taken.keys() else taken
            fields |= taken
            unsupported += [] if taken else [f"column '{name}': {check}"]
        found[name] = column_contract(name, fields)
        keys += [(name,)] if column["unique"] else []
    whole = tuple(key for key in keys if found.keys() >= set(key))
    return ImportedSchema(contract=TableContract(columns=found, unique=whole), unsupported=tuple(unsupported))


def _plain(column: Any) -> dict[str, Any]:
    checks = [(str(check.name or "a check of its own"), check.statistics) for check in column.checks]
    plain = {name: getattr(column, name) for name in ("dtype", "nullable", "unique", "required", "regex")}
    return {**plain, "checks": checks}


def _unfolded(column: Mapping[str, Any]) -> dict[str, Any]:
    checks = {name: value for name, value in column.items() if name not in OF_COLUMN}
    named = [
        (name, value if isinstance(value, dict) else {ALONE.get(name, name): value}) for name, value in checks.items()
    ]
    defaults = {"nullable": False, "unique": False, "required": True, "regex": False}
    listed: list[tuple[str, dict[str, Any]]] = [
        (str(each.get("options", {}).get("check_name", each)), {}) for each in column.get("checks") or ()
    ]
    return {**defaults, **{name: column[name] for name in OF_COLUMN if name in column}, "checks": [*named, *listed]}


def _kind(dtype: str) -> ColumnType | None:
    return next((kind for form, kind in TYPES if re.fullmatch(form, dtype.lower())), None)


def _range(said: Mapping[str, Any], kind: ColumnType) -> Fields:
    low, high = said["min_value"], said["max_value"]
    lowest = low if said.get("include_min", True) else next_value(low, kind, up=True)
    return {"lowest": lowest, "highest": high if said.get("include_max", True) else next_value(high, kind, up=False)}


def _length(said: Mapping[str, Any]) -> Fields:
    exact = said.get("exact_value")
    return {"shortest": exact or said.get("min_value"), "longest": exact or said.get("max_value")}


def _text(pattern: Any) -> str:
    return str(getattr(pattern, "pattern", pattern))
