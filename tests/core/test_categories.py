"""A category is hashed as CatBoost hashes it, whatever its length."""

from __future__ import annotations

import pytest

from headway.core.categories import category_hash, category_with_hash, unseen_code
from headway.core.variant import Field

# Hashes that CatBoost 1.2.10 stores for one-hot values; one for each way in which the hash depends on the length.
KNOWN = {
    "": 0x2F90404F,
    "a": 0xD003ACFA,
    "abc": 0x3A4ECE31,
    "nan": 0x2D5DBE59,
    "12345": 0x090BC908,
    "日本語": 0x523782BD,
    "-9007199254740991": 0x504DEDC9,
    "two words and one more": 0x2A727657,
    "é" * 32: 0xC5CA3975,
    "q" * 65: 0x6BB1D263,
    "0123456789" * 13: 0xA1BE89F6,
}


@pytest.mark.parametrize("category", KNOWN)
def test_the_hash_of_a_category_is_that_of_the_library(category: str) -> None:
    assert category_hash(category) == KNOWN[category]


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1])
def test_a_string_is_found_for_any_hash(value: int) -> None:
    found = category_with_hash(value)
    assert category_hash(found) == value and found.isascii()


def test_a_category_that_no_list_has_is_coded_as_its_field_says() -> None:
    field = Field(name="port", datatype="BYTES", categories=("a", "b"), unseen="hashed")
    assert unseen_code(field, "c") == 2 + category_hash("c") and field.ranks_unseen
    other, missing = (
        Field(name="port", datatype="BYTES", categories=("a",), unseen=how) for how in ("other", "missing")
    )
    assert unseen_code(other, "c") == 1 and other.ranks_unseen
    assert unseen_code(missing, "c") != unseen_code(missing, "c") and not missing.ranks_unseen
