"""An unseen category is handled equally in a table and in a request, as its field says."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from headway.core.errors import DataError
from headway.core.variant import Field, Signature
from headway.data.matrix import matrix
from headway.serving.protocol.open_inference import RequestReader

VALUES = ["UA", None, "ZZ", "AA"]


def signature(unseen: str, *categories: str) -> Signature:
    return Signature(inputs=(Field(name="carrier", datatype="BYTES", categories=categories, unseen=unseen),))


def encode_request(strings: list[str | None]) -> bytes:
    column = {"name": "carrier", "shape": [len(strings)], "datatype": "BYTES", "data": strings}
    return json.dumps({"inputs": [column]}).encode()


@pytest.mark.parametrize(
    ("unseen", "ranks"), [("missing", [1.0, np.nan, np.nan, 0.0]), ("other", [1.0, np.nan, 2.0, 0.0])]
)
def test_an_unseen_category_has_the_same_code_in_a_table_and_in_a_request(unseen: str, ranks: list[float]) -> None:
    known = signature(unseen, "AA", "UA")
    np.testing.assert_array_equal(matrix(pl.DataFrame({"carrier": VALUES}), known)[:, 0], ranks)
    np.testing.assert_array_equal(RequestReader(known).read(encode_request(VALUES)).rows[:, 0], ranks)


def test_a_refused_unseen_category_is_named_for_a_table_and_for_a_request() -> None:
    known = signature("refused", "AA", "UA")
    message = "column 'carrier' holds 'ZZ', a category that the model does not know"
    with pytest.raises(DataError, match=message):
        matrix(pl.DataFrame({"carrier": VALUES}), known)
    with pytest.raises(DataError, match=message):
        RequestReader(known).read(encode_request(VALUES))


def test_a_null_is_missing_and_never_rejected() -> None:
    known = signature("refused", "AA", "UA")
    table = matrix(pl.DataFrame({"carrier": [None, "AA"]}, schema={"carrier": pl.String}), known)
    np.testing.assert_array_equal(table, RequestReader(known).read(encode_request([None, "AA"])).rows)


@pytest.mark.parametrize(("unseen", "rank"), [("missing", np.nan), ("other", 0.0)])
def test_every_category_is_unseen_for_a_column_without_categories(unseen: str, rank: float) -> None:
    table = matrix(pl.DataFrame({"carrier": ["AA"]}), signature(unseen))
    np.testing.assert_array_equal(table, [[rank]])
    np.testing.assert_array_equal(table, RequestReader(signature(unseen)).read(encode_request(["AA"])).rows)
