"""Keys of tables larger than memory: found in files, as in memory."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from headway.data.contract import validation as together
from headway.data.contract.validation import KeyConstraint, rows_violating_key, violates_key


@pytest.mark.parametrize("rows_a_file", [1, 7, 1_000_000])
@pytest.mark.parametrize("determines", [None, "determines"])
def test_rows_that_break_it_together_are_those_that_memory_finds(rows_a_file, determines, monkeypatch):
    monkeypatch.setattr(together, "ROWS_PER_FILE", rows_a_file)
    draw = np.random.default_rng(rows_a_file)
    table = pl.DataFrame(
        {
            "a": draw.choice([1, 2, 3, 4, None], 60).tolist(),
            "b": draw.choice(["x", "y", "a longer text", None], 60).tolist(),
            "determines": draw.choice([1.5, 2.5, None], 60, p=[0.8, 0.1, 0.1]).tolist(),
        }
    )
    rule = KeyConstraint(key=(pl.col("a"), pl.col("b")), determines=pl.col(determines) if determines else None)
    expected = table.select(violates_key(rule)).to_series()
    assert 0 < expected.sum() < 60
    assert rows_violating_key(table.lazy(), rule, n_rows=60).tolist() == expected.to_list()


def test_a_table_without_rows_breaks_nothing():
    assert rows_violating_key(pl.LazyFrame({"a": []}), KeyConstraint(key=(pl.col("a"),)), n_rows=0).tolist() == []
