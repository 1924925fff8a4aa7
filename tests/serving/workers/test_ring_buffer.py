"""A ring returns complete records in order, and accepts no more than it has space for."""

from __future__ import annotations

import mmap
import re
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.serving.workers.shared_memory import RingBuffer, WakeupPipe

PAGE = mmap.PAGESIZE
START = re.compile(r"^([0-9a-f]+)-[0-9a-f]+ rw-s", re.MULTILINE)


def read_all(ring: RingBuffer) -> list[bytes]:
    """Read all records of a ring, and free them."""
    upto = ring.head
    found = [bytes(record) for record in ring.records(upto)]
    ring.advance(upto)
    return found


@given(st.lists(st.one_of(st.none(), st.binary(max_size=PAGE // 2)), max_size=60))
def test_records_are_read_in_order_wherever_the_ring_ends(steps):
    ring, waiting = RingBuffer(3 * PAGE), deque[bytes]()
    for step in steps:
        if step is None:
            assert read_all(ring) == list(waiting)
            waiting.clear()
        elif ring.put(step[:7], memoryview(step)[7:]):
            waiting.append(step)
    assert read_all(ring) == list(waiting)


def test_a_record_without_space_is_refused_and_earlier_ones_stay():
    ring = RingBuffer(2 * PAGE)
    assert ring.put(b"a" * (PAGE - 16)) and not ring.put(b"b" * 8)
    assert read_all(ring) == [b"a" * (PAGE - 16)] and ring.put(b"b" * 8)


def test_records_are_read_again_until_advance():
    ring = RingBuffer(PAGE)
    ring.put(b"once")
    assert list(ring.records(ring.head)) == list(ring.records(ring.head)) == [b"once"]
    assert ring.tail == 0 and not ring.due


def test_reach_ends_with_a_record_and_includes_at_minimum_one():
    ring = RingBuffer(4 * PAGE)
    for size in (8, 80, 8):
        ring.put(b"x" * size)
    assert [len(list(ring.records(ring.reach(max_bytes)))) for max_bytes in (0, 16, 103, 104, 10_000)] == [
        1,
        1,
        1,
        2,
        3,
    ]
    ring.advance(ring.head)
    assert ring.reach(100) == ring.head


def test_a_ring_is_due_when_half_full_or_at_1_mib():
    small, large = RingBuffer(4 * PAGE), RingBuffer(8 << 20)
    small.put(b"x" * 2 * PAGE)
    large.put(b"x" * ((1 << 20) - 16))
    assert small.due and read_all(small) and not small.due
    assert not large.due and large.put(b"") and large.due


def test_records_longer_than_a_piece_are_complete_and_free_pieces_are_reused():
    ring, record = RingBuffer(16 * PAGE, resident_bytes=0), bytes(range(256)) * (3 * PAGE // 256)
    for _ in range(40):
        assert ring.put(record) and ring.put(b"short")
        assert read_all(ring) == [record, b"short"]
    assert resident_kb(ring) <= 8 * PAGE // 1024


def resident_kb(ring: RingBuffer) -> int:
    """Return the memory that a ring of this size takes in this process."""
    at = np.frombuffer(ring._memory, dtype=np.uint8).ctypes.data
    maps = Path("/proc/self/smaps").read_text().split("VmFlags")
    (own,) = [mapping for mapping in maps if (found := START.search(mapping)) and int(found[1], 16) == at]
    return int(own.partition("Rss:")[2].split()[0])


@pytest.mark.slow
def test_read_records_take_no_memory_and_later_records_are_complete():
    ring = RingBuffer(123 * PAGE, resident_bytes=4 * PAGE)
    records = [bytes([number]) * PAGE for number in range(100)]
    for round_ in range(5):
        for record in records:
            assert ring.put(record), round_
        full = resident_kb(ring)
        assert read_all(ring) == records
        assert resident_kb(ring) < full / 5


@pytest.mark.slow
def test_waking_never_blocks_and_the_pipe_ends_when_no_writer_is_left():
    wakeup = WakeupPipe()
    for _ in range(100_000):
        wakeup.wake()
    assert wakeup.drain() and wakeup.drain() and wakeup.drain()
    wakeup.keep_reader()
    assert not wakeup.drain()
    wakeup.keep_writer()


def test_any_process_sees_the_begin_of_the_first_record_and_none_if_it_was_just_read(monkeypatch):
    ring = RingBuffer(4 * PAGE)
    assert ring.peek(4) is None
    ring.put(b"x" * (PAGE - 16))
    ring.put(b"second")
    assert ring.peek(4) == b"xxxx"
    ring.advance(PAGE - 8)
    assert ring.peek(4) == b"seco"  # in two pieces: its length ends the first
    monkeypatch.setattr(ring, "_record", lambda *_: ring.advance(ring.head) or b"")
    assert ring.peek(4) is None
