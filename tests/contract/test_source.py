"""Test every installed database reader; its own tests use a real database."""

from __future__ import annotations

import pytest

from headway.core import plugins
from headway.core.errors import DataError
from headway.data.context import load_source

# A database that is not there, of each kind.
NOWHERE = {
    "sqlite": "sqlite:///none.db",
    "postgresql": "postgresql://ada@127.0.0.1:1/none",
    "duckdb": "duckdb:///none.db",
}
# Their libraries come with the extra `services`.
MARKS = {"duckdb": [pytest.mark.services]}


def test_each_has_its_row() -> None:
    assert plugins.names("source") == sorted(NOWHERE)


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in plugins.names("source")])
def test_a_missing_database_is_an_error_with_a_hint(name, tmp_path):
    with pytest.raises(DataError) as caught:
        load_source(name)(NOWHERE[name], "SELECT 1", folder=tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []
