"""Import schemas of other tools as contracts, and compare with the tools themselves."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import dataframely as dy
import pandera.polars as pa
import polars as pl
import pytest

from headway.core.errors import ConfigError
from headway.data.contract.schema_import import from_dataframely, from_frictionless, from_pandera, import_schema
from headway.data.contract.table_contract import ColumnContract
from headway.data.contract.validation import validate_table

pytestmark = pytest.mark.slow  # its libraries take a second to import
FIELDS = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"exclusiveMinimum": 0, "maximum": 9}},
        {"name": "size", "type": "number", "constraints": {"required": True, "exclusiveMaximum": 2.5}},
        {"name": "kind", "constraints": {"enum": ["a", "b"], "minLength": 1, "maxLength": 2, "pattern": "[ab]+"}},
        {"name": "on", "type": "date", "constraints": {"exclusiveMinimum": "2013-01-01", "unique": True}},
        {"name": "mail", "format": "email", "constraints": {"jsonSchema": {}}},
        {"name": "where", "type": "geopoint"},
    ],
    "primaryKey": "id",
    "uniqueKeys": [["kind", "on"]],
    "foreignKeys": [{}],
}
SCHEMA = pa.DataFrameSchema(
    {
        "id": pa.Column(pl.Int64, [pa.Check.gt(0), pa.Check.le(9)], unique=True),
        "size": pa.Column(pl.Float64, pa.Check.in_range(0, 2.5, include_max=False), nullable=True, required=False),
        "kind": pa.Column(str, [pa.Check.isin(["a", "b"]), pa.Check.str_length(1, 2), pa.Check.str_matches("[ab]")]),
        "on": pa.Column(pl.Date, pa.Check.ge(date(2013, 1, 1))),
        "odd": pa.Column(pl.Int64, [pa.Check.ge(1), pa.Check.ge(2), pa.Check.ne(5)]),
        "x_.*": pa.Column(float, regex=True),
    },
    unique=["kind", "on"],
)


class Model(pa.DataFrameModel):
    """The same in another form of pandera."""

    id: int = pa.Field(ge=1)


class Rows(dy.Schema):
    """A schema of dataframely."""

    id = dy.Int64(primary_key=True, min_exclusive=0, max=9)
    size = dy.Float64(nullable=True, max_exclusive=2.5)
    kind = dy.Enum(["a", "b"])
    code = dy.String(min_length=1, max_length=9, regex="b$")
    odd = dy.Integer(check=lambda column: column % 2 == 1)
    parts = dy.List(dy.Int64())

    @dy.rule()
    def small(cls) -> pl.Expr:
        return pl.col("id") < 5


def test_a_table_schema_is_imported_with_its_keys_and_the_rest_is_reported():
    imported = from_frictionless(FIELDS)
    assert imported.contract.columns == {
        "id": ColumnContract(type="integer", minimum=1, maximum=9),
        "size": ColumnContract(type="number", maximum=2.4999999999999996),
        "kind": ColumnContract(
            type="string", missing=1.0, values=("a", "b"), min_length=1, max_length=2, pattern="[ab]+"
        ),
        "on": ColumnContract(type="date", missing=1.0, minimum="2013-01-02"),
        "mail": ColumnContract(type="string", missing=1.0),
    }
    assert imported.contract.unique == (("id",), ("kind", "on"), ("on",))
    assert imported.unsupported == (
        "column 'mail': jsonSchema",
        "column 'mail': format email",
        "column 'where' is of type geopoint",
        "foreignKeys",
    )


def test_a_schema_of_pandera_is_imported_as_an_object_and_as_json(tmp_path):
    imported = from_pandera(SCHEMA)
    assert imported.contract.columns == {
        "id": ColumnContract(type="integer", minimum=1, maximum=9),
        "size": ColumnContract(type="number", missing=1.0, optional=True, minimum=0, maximum=2.4999999999999996),
        "kind": ColumnContract(type="string", values=("a", "b"), min_length=1, max_length=2, pattern="(?:[ab])(?s:.*)"),
        "on": ColumnContract(type="date", minimum="2013-01-01"),
        "odd": ColumnContract(type="integer", minimum=1),
    }
    assert imported.contract.unique == (("kind", "on"), ("id",))
    assert imported.unsupported == (
        "column 'odd': greater_than_or_equal_to",
        "column 'odd': not_equal_to",
        "column 'x_.*': names by pattern",
    )
    plain = pa.DataFrameSchema({name: SCHEMA.columns[name] for name in ("id", "size", "kind")})
    (tmp_path / "schema.json").write_text(plain.to_json())
    assert import_schema("schema.json", tmp_path).contract == from_pandera(plain).contract


def test_a_schema_of_dataframely_is_imported_with_its_key():
    imported = from_dataframely(Rows)
    assert imported.contract.columns == {
        "id": ColumnContract(type="integer", minimum=1, maximum=9),
        "size": ColumnContract(type="number", missing=1.0, maximum=2.4999999999999996),
        "kind": ColumnContract(type="string", values=("a", "b")),
        "code": ColumnContract(type="string", min_length=1, max_length=9, pattern="(?s:.*)(?:b$)(?s:.*)"),
        "odd": ColumnContract(type="integer"),
    }
    assert imported.contract.unique == (("id",),)
    assert imported.unsupported == ("the table: rule small", "column 'odd': check", "column 'parts' is of type List")


def test_a_contract_and_its_schema_reject_the_same_rows():
    rows = pl.DataFrame({"id": [1, 0, 9, 10], "kind": ["a", "b", "abc", "c"], "size": [0.0, 2.5, -1.0, None]})
    schema = pa.DataFrameSchema({name: SCHEMA.columns[name] for name in rows.columns})
    with pytest.raises(pa.errors.SchemaErrors) as error:
        schema.validate(rows, lazy=True)
    theirs = {
        (failure["column"], row)
        for failure in error.value.failure_cases.iter_rows(named=True)
        if (row := failure["index"]) is not None
    }
    result = validate_table(from_pandera(schema).contract, rows)
    ours = {(violation.rule.columns[0], row - 1) for violation in result.violations for row in violation.rows}
    assert ours == theirs


@pytest.mark.parametrize("reference", ["mine:Rows", "mine:SCHEMA", "mine:Model", "mine:made", "package.json"])
def test_a_schema_is_imported_by_name_or_file(tmp_path, reference):
    (tmp_path / "mine.py").write_text(f"from {__name__} import Model, Rows, SCHEMA\ndef made():\n    return SCHEMA\n")
    (tmp_path / "package.json").write_text(json.dumps({"resources": [{"schema": FIELDS}]}))
    assert import_schema(reference, tmp_path).contract.columns["id"].minimum == 1


@pytest.mark.parametrize(
    ("reference", "content", "message"),
    [
        ("absent.json", None, "cannot be read"),
        ("torn.json", "{", "is not JSON"),
        ("other.json", "{}", "neither fields nor columns"),
        ("schema.xml", "", "is not a known schema"),
        ("odd.py:value", None, "is a int, not a schema"),
        ("wrong.json", '{"fields": [{"name": "a", "constraints": {"minLength": "x"}}]}', "a contract cannot express"),
    ],
)
def test_anything_but_a_schema_is_an_error(tmp_path: Path, reference, content, message):
    if content is not None:
        (tmp_path / reference).write_text(content)
    (tmp_path / "odd.py").write_text("value = 1\n")
    with pytest.raises(ConfigError, match=message):
        import_schema(reference.replace(".py", ""), tmp_path)
