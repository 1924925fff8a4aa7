"""A request's string that no list has reaches the model by its hash."""

from __future__ import annotations

import json
import math

import numpy as np

from headway.core.categories import category_hash
from headway.core.variant import Field, Signature
from headway.serving.protocol.tensors import CategoryCodes
from headway.serving.temporary_server import _request

PORT = Field(name="port", datatype="BYTES", categories=("a", "b"), unseen="hashed")


def test_an_unlisted_string_is_coded_by_its_hash() -> None:
    codes = CategoryCodes(PORT)
    assert codes.grows and codes["b"] == 1 and codes["c"] == 2 + category_hash("c") and math.isnan(codes[None])


def test_a_trial_request_sends_strings_with_the_hashes_of_its_rows() -> None:
    body = _request(Signature(inputs=(PORT,)), np.array([[0.0], [2.0 + 77], [np.nan]])).split(b"\r\n\r\n", 1)[1]
    listed, other, missing = json.loads(body)["inputs"][0]["data"]
    assert (listed, category_hash(other), missing) == ("a", 77, None)
