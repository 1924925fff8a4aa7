"""Validate rules with pandera and dataframely, and print their CPU times.

usage: of_schemas.py FOLDER PLANTED TRIES
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from time import process_time

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import dataframely as dy
import pandera.polars as pa
import polars as pl


def of_pandera(rules, schema):
    """Return the rules as a pandera schema."""
    columns = {}
    for name, rule in rules.items():
        checks = [pa.Check.isin(rule["values"])] if rule["values"] else []
        checks += [pa.Check.ge(rule["minimum"]), pa.Check.le(rule["maximum"])] if rule["minimum"] is not None else []
        columns[name] = pa.Column(schema[name], checks, nullable=rule["missing"] == 1)
    return pa.DataFrameSchema(columns)


def of_dataframely(rules, schema):
    """Return the rules as a dataframely schema class."""
    made = {}
    for name, rule in rules.items():
        nullable, ends = rule["missing"] == 1, {"min": rule["minimum"], "max": rule["maximum"]}
        if rule["values"]:
            values = rule["values"]
            made[name] = dy.String(nullable=nullable, check=lambda column, values=values: column.is_in(values))
        elif rule["type"] in ("integer", "number"):
            made[name] = (dy.Float64 if schema[name].is_float() else dy.Int64)(nullable=nullable, **ends)
        else:
            made[name] = dy.Date(nullable=nullable) if rule["type"] == "date" else dy.Datetime(nullable=nullable)
    return type("Rows", (dy.Schema,), made)


def timed(ask):
    """Return the CPU seconds of one call."""
    began = process_time()
    ask()
    return process_time() - began


def skips(schema, frame):
    """Return whether a violation in a lazy frame is missed."""
    try:
        schema.validate(frame, lazy=True).collect()
    except (pa.errors.SchemaErrors, pa.errors.SchemaError):
        return False
    return True


if __name__ == "__main__":
    folder, planted, tries = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rules, table = json.loads((folder / "rules.json").read_text()), pl.read_parquet(folder / "flights.parquet")
    table = table.with_columns(pl.col(name).cast(pl.Int64) for name in rules if table.schema[name].is_integer())
    schema, rows = of_pandera(rules, table.schema), of_dataframely(rules, table.schema)
    lazies = [pl.scan_parquet(folder / f"planted-{number}.parquet") for number in range(planted)]
    lazies = [frame.with_columns(pl.col(n).cast(table.schema[n]) for n in rules) for frame in lazies]
    named = ", ".join(f"{name} {version(name)}" for name in ("pandera", "dataframely", "polars"))
    print(
        json.dumps(
            {
                "pandera_s": min(timed(lambda: schema.validate(table, lazy=True)) for _ in range(tries)),
                "dataframely_s": min(timed(lambda: rows.filter(table)) for _ in range(tries)),
                "pandera_skips": sum(skips(schema, frame) for frame in lazies),
                "versions": named,
            }
        )
    )
