"""How a column of strings is read depends on all of its values, not on the batches in which they come."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.data.parsing import StringColumn, parse_number_texts, replace_missing

pytestmark = pytest.mark.slow

CELLS = st.none() | st.sampled_from(["1", "-2", " 3", "2.5", "1e3", "007", "x", "?", "NA", " na ", "", "nan", "inf"])


@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from([(), ("NA",), ("?", "x")]), st.integers(1, 4))
def test_batches_are_read_as_the_whole_column(values: list[str | None], words: tuple[str, ...], rows: int):
    whole = pl.DataFrame({"x": pl.Series(values, dtype=pl.String)})
    expected, blanks = parse_number_texts(replace_missing(whole, words), ["x"])
    found = StringColumn(words, blanks=True)
    batches = [whole["x"][start : start + rows] for start in range(0, len(whole), rows)]
    for batch in batches:
        found.add(batch)
    read = pl.concat([found.read_blanks(found.read_words(batch)) for batch in batches])
    assert read.dtype == expected["x"].dtype and read.equals(expected["x"])
    assert found.blanks == blanks.get("x", {})
