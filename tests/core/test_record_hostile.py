"""Arbitrary bytes are refused as a StoreError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import StoreError
from headway.core.record import read, write
from headway.core.release import PointerUpdate

MOVE = write(PointerUpdate(name="f", pointer="live", number=1, release="r", previous="", at="t", who="a", why="b"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        MOVE.replace(b'"who":"a"', b'"who":"\xe4"'),
        b'{"kind":"pointer_update","version":2,"record":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        MOVE.replace(b'"version":2', b'"version":0'),
        MOVE.replace(b'"version":2', b'"version":-99999'),
        MOVE.replace(b'"version":2', b'"version":3'),
    ],
)
def test_hostile_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match="record 'pointer_update'"):
        read(PointerUpdate, content)


@given(position=st.integers(0, len(MOVE) - 1), change=st.integers(1, 255))
def test_a_changed_byte_is_read_as_an_update_or_refused(position: int, change: int) -> None:
    changed = bytearray(MOVE)
    changed[position] ^= change
    try:
        assert isinstance(read(PointerUpdate, bytes(changed)), PointerUpdate)
    except StoreError as error:
        assert "record" in error.what
