"""What the model's library refuses is found at import, and refused wherever rows come in."""

from __future__ import annotations

import numpy as np
import pytest
from headway_echo import Echo

from headway.core.errors import DataError, EngineError, RowRefused
from headway.core.variant import Field, Signature
from headway.data.refusals import RefusalCheck, with_refusals

ROWS = np.arange(12.0).reshape(4, 3)
NAMES = Signature(inputs=tuple(Field(name=name) for name in "abc"))


class Picky(Echo):
    """Refuses missing values in the columns of `required`, and values beyond float32 in all."""

    required = (0, 2)
    calls = 0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The mean of each row."""
        self.calls += 1
        if np.isnan(rows[:, list(self.required)]).any() or (np.abs(rows) > 1e38).any():
            raise EngineError("the library refuses these rows")
        return super().predict(rows)


class Wide(Picky):
    """Refuses everything in many columns."""

    required = tuple(range(500))


def refusals(engine: Echo, rows: np.ndarray, signature: Signature) -> list[tuple[str, ...]]:
    return [field.refuses for field in with_refusals(engine, rows, signature).inputs]


def test_the_refused_values_of_each_column_are_found_by_asking_the_engine():
    large = ("infinite", "beyond float32")
    assert refusals(Picky(b"echo", {}), ROWS, NAMES) == [("missing", *large), large, ("missing", *large)]
    assert refusals(Echo(b"echo", {}), ROWS, NAMES) == [(), (), ()]


def test_a_row_that_is_refused_by_itself_is_not_altered_but_the_next_one():
    rows = ROWS.copy()
    rows[0, 0] = np.nan
    assert refusals(Picky(b"echo", {}), rows, NAMES)[0][0] == "missing"
    assert refusals(Picky(b"echo", {}), rows[:1], NAMES) == [(), (), ()]


def test_of_many_columns_a_sample_is_asked():
    engine = Wide(b"echo", {})
    signature = Signature(inputs=tuple(Field(name=f"x{index}") for index in range(500)))
    assert all("missing" in kinds for kinds in refusals(engine, np.ones((1, 500)), signature))
    assert engine.calls < 500


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "column 'c' is missing"),
        (-np.inf, "column 'c' is -inf, which is infinite"),
        (1e39, "column 'c' is 1e\\+39, which is beyond float32"),
        (1e200, "column 'c' is 1e\\+200, which is beyond float32"),
    ],
)
def test_a_refused_row_is_an_error_of_values_that_names_row_column_and_value(value, message):
    check, rows = RefusalCheck(with_refusals(Picky(b"echo", {}), ROWS, NAMES)), ROWS.copy()
    check(rows)
    rows[3, 2] = value
    with pytest.raises(RowRefused, match=message) as refusal:
        check(rows)
    assert refusal.value.where == "row 3" and refusal.value.hint
    assert isinstance(refusal.value, ValueError) and isinstance(refusal.value, DataError)
    assert check.refused_rows(rows).tolist() == [False, False, False, True]


def test_values_that_the_model_reads_pass():
    rows = ROWS.copy()
    rows[1, 1], rows[2, 1] = np.nan, 1e38
    check = RefusalCheck(with_refusals(Picky(b"echo", {}), ROWS, NAMES))
    check(rows)
    assert not check.refused_rows(rows).any()
    assert not RefusalCheck(NAMES).is_needed
