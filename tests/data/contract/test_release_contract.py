"""A server validates requests by the edited contract."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.contract.discovery import agreed_contract, observed_contract
from headway.data.contract.table_contract import ColumnContract, TableContract
from headway.serving.batching.validation import InputValidator

SIGNATURE = Signature(
    inputs=(Field(name="size"), Field(name="kind", datatype="BYTES", categories=("a", "b", "long")), Field(name="free"))
)
SEEN = observed_contract(np.array([[1.0, 0.0, 2.0], [2.0, np.nan, 3.0]]), SIGNATURE, margin=0.1)


def agreed(**columns: ColumnContract) -> Contract:
    return agreed_contract(SEEN, SIGNATURE, TableContract(columns=columns))


def test_named_columns_get_the_rules_of_the_file():
    size = ColumnContract(type="number", minimum=0, maximum=9)
    kind = ColumnContract(type="string", missing=0.5, values=("a", "long", "new"), max_length=2)
    assert agreed(size=size, kind=kind) == Contract(
        columns=(
            Bounds(name="size", lowest=0.0, highest=9.0, may_miss=False),
            Bounds(name="kind", categories=("a",), missing=0.5, may_miss=True),
        ),
        margin=0.0,
        n_rows=2,
    )


@pytest.mark.parametrize(
    ("terms", "ends"),
    [
        (ColumnContract(type="boolean"), (0.0, 1.0)),
        (ColumnContract(type="integer", values=(3, 1)), (1.0, 3.0)),
        (ColumnContract(type="number", maximum=4), (None, 4.0)),
        (ColumnContract(type="date", minimum="2013-01-01"), (None, None)),
    ],
)
def test_a_number_has_the_range_of_the_contract(terms, ends):
    (column,) = agreed(size=terms).columns
    assert (column.lowest, column.highest) == ends


def test_a_string_without_rules_may_be_any_category_of_the_model():
    for terms in (ColumnContract(type="string"), ColumnContract(type="integer")):
        assert agreed(kind=terms).columns[0].categories == ("a", "b", "long")


def test_a_range_with_one_bound_is_validated_at_that_bound():
    validator = InputValidator(agreed(size=ColumnContract(type="number", maximum=4)), SIGNATURE)
    rows = np.array([[-1e9, 0.0, 2.0], [5.0, 0.0, 2.0]])
    found = validator.describe(rows, validator.find(rows))
    assert [(violation.row, violation.kind) for violation in found] == [(1, "high")]
    assert str(found[0]) == "row 1: column 'size' is 5, outside -inf to 4"
