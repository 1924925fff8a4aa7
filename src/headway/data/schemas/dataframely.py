"""A schema class of dataframely as a contract."""

from __future__ import annotations

import re
from typing import Any

from headway.data.contract.terms import ColumnContract, ColumnType, TableContract
from headway.data.schemas.said import ImportedSchema, column_contract, contains_pattern, next_value

TYPES: tuple[tuple[str, ColumnType], ...] = (
    (r"U?Int(eger|\d+)", "whole"),
    (r"Float\d*|Decimal", "number"),
    (r"String|Enum|Categorical", "text"),
    (r"Bool", "boolean"),
    (r"Date", "date"),
    (r"Datetime", "time"),
)
SAID = {"min": "lowest", "max": "highest", "min_length": "shortest", "max_length": "longest"}
VALUES = ("is_in", "categories")
LEFT = ("check", "resolution")


def is_schema(schema: object) -> bool:
    """Whether it is a schema class of dataframely."""
    return callable(getattr(schema, "columns", None)) and callable(getattr(schema, "primary_key", None))


def contract_of(schema: Any) -> ImportedSchema:
    """The contract that a schema class says."""
    columns: dict[str, ColumnContract] = {}
    unsupported = [f"the table: rule {name}" for name in getattr(schema, "_schema_validation_rules", dict)()]
    for name, column in schema.columns().items():
        said = type(column).__name__
        kind = next((kind for form, kind in TYPES if re.fullmatch(form, said)), None)
        if kind is None:
            unsupported.append(f"column '{name}' is of type {said}")
            continue
        columns[name] = column_contract(name, _fields(column, kind))
        unsupported += [f"column '{name}': {each}" for each in LEFT if getattr(column, each, None) is not None]
    key = tuple(schema.primary_key())
    unique = (key,) if key and columns.keys() >= set(key) else ()
    return ImportedSchema(contract=TableContract(columns=columns, unique=unique), unsupported=tuple(unsupported))


def _fields(column: Any, kind: ColumnType) -> dict[str, object]:
    fields: dict[str, object] = {"type": kind, "missing": 1.0 if column.nullable and not column.primary_key else 0.0}
    fields |= {ours: getattr(column, theirs, None) for theirs, ours in SAID.items()}
    if (low := getattr(column, "min_exclusive", None)) is not None:
        fields["lowest"] = next_value(low, kind, up=True)
    if (high := getattr(column, "max_exclusive", None)) is not None:
        fields["highest"] = next_value(high, kind, up=False)
    for name in VALUES:
        fields["values"] = fields.get("values") or tuple(getattr(column, name, None) or ())
    pattern = getattr(column, "regex", None)
    return fields | {"pattern": contains_pattern(pattern) if pattern else None}
