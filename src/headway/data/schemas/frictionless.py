"""A Table Schema of Frictionless Data (JSON), or that of a data package, as a contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headway.data.contract.terms import ColumnContract, ColumnType, TableContract
from headway.data.schemas.said import ImportedSchema, column_contract, next_value

TYPES: dict[str, ColumnType] = {
    "integer": "whole",
    "year": "whole",
    "number": "number",
    "string": "text",
    "boolean": "boolean",
    "date": "date",
    "datetime": "time",
}
SAID = {
    "minimum": "lowest",
    "maximum": "highest",
    "minLength": "shortest",
    "maxLength": "longest",
    "pattern": "pattern",
}
KNOWN = {*SAID, "required", "unique", "enum", "exclusiveMinimum", "exclusiveMaximum"}


def contract_of(schema: Mapping[str, Any]) -> ImportedSchema:
    """The contract that a table schema says."""
    primary = _names(schema.get("primaryKey", ()))
    columns: dict[str, ColumnContract] = {}
    unsupported: list[str] = []
    unique = [primary, *(_names(key) for key in schema.get("uniqueKeys", ()))]
    for field in schema.get("fields", ()):
        name, constraints = field["name"], field.get("constraints", {})
        kind = TYPES.get(field.get("type", "string"))
        if kind is None:
            unsupported.append(f"column '{name}' is of type {field['type']}")
            continue
        columns[name] = column_contract(name, _fields(kind, constraints, needed=name in primary))
        unique += [(name,)] if constraints.get("unique") else []
        unsupported += [f"column '{name}': {each}" for each in sorted(set(constraints) - KNOWN)]
        unsupported += (
            [f"column '{name}': format {field['format']}"] if field.get("format", "default") != "default" else []
        )
    unsupported += [
        each for each in ("foreignKeys", "missingValues", "fieldsMatch") if schema.get(each) not in (None, [""])
    ]
    keys = tuple(dict.fromkeys(key for key in unique if key and columns.keys() >= set(key)))
    return ImportedSchema(contract=TableContract(columns=columns, unique=keys), unsupported=tuple(unsupported))


def _fields(kind: ColumnType, constraints: Mapping[str, Any], *, needed: bool) -> dict[str, object]:
    fields: dict[str, object] = {"type": kind, "missing": 0.0 if needed or constraints.get("required") else 1.0}
    fields |= {SAID[name]: value for name, value in constraints.items() if name in SAID}
    if "exclusiveMinimum" in constraints:
        fields["lowest"] = next_value(constraints["exclusiveMinimum"], kind, up=True)
    if "exclusiveMaximum" in constraints:
        fields["highest"] = next_value(constraints["exclusiveMaximum"], kind, up=False)
    return fields | {"values": tuple(constraints.get("enum", ()))}


def _names(key: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)
