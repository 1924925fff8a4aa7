"""A FlatBuffer is read by the places of its fields, and never beyond its bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engines.formats.catboost import root_table


def buffer() -> bytes:
    """A table of four fields: 7, nothing, the text "hi", and the vector [1, 2, 3]."""
    vtable = struct.pack("<6H", 12, 16, 4, 0, 8, 12)
    table = struct.pack("<iiII", 12, 7, 8, 14)
    text = struct.pack("<I", 2) + b"hi" + b"\0\0"
    vector = struct.pack("<I3i", 3, 1, 2, 3)
    return struct.pack("<I", 16) + vtable + table + text + b"\0\0" + vector


def test_each_field_is_found_at_its_place() -> None:
    table = root_table(buffer())
    assert (table.whole(0, "<i", 0), table.text(2), table.array(3, np.int32).tolist()) == (7, "hi", [1, 2, 3])


def test_a_field_that_is_left_out_answers_what_the_schema_says() -> None:
    table = root_table(buffer())
    for field in (1, 9):
        assert (table.whole(field, "<i", 5), table.number(field, "<d", 0.5), table.text(field)) == (5, 0.5, "")
        assert table.table(field) is None and table.tables(field) == [] and len(table.array(field, np.int32)) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda table: table.array(3, np.float64),
        lambda table: table.array(3, np.int32, 2),
        lambda table: table.table(0).text(0),
    ],
    ids=["wider numbers", "more numbers", "no table"],
)
def test_what_lies_beyond_the_bytes_is_refused_with_the_place(ask) -> None:
    with pytest.raises(ValueError, match="byte "):
        ask(root_table(buffer()))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    asked = (
        lambda table: table.whole(0, "<i", 0),
        lambda table: table.text(1),
        lambda table: table.array(2, np.float64),
        lambda table: [each.text(0) for each in table.tables(3)],
    )
    for ask in asked:
        try:
            ask(root_table(content))
        except ValueError as refusal:
            assert str(refusal)
