"""Counters in shared memory: each process writes its own row, and a reader sees the sum."""

from __future__ import annotations

import pytest

from headway.serving.workers.shared_memory import CounterMap, FlagMap, NamedCounters, SharedDocument, SharedTable


def test_a_document_is_the_last_that_was_written_whole():
    shared = SharedDocument(8)
    assert shared.read() == (b"", 0.0)
    shared.write(b"12345678", 1.5)
    assert shared.read() == (b"12345678", 1.5)
    shared.write(b"123456789", 2.5)  # too large
    assert shared.read() == (b"12345678", 1.5)
    shared._memory[30:31] = b"x"  # as two writers may leave it
    assert shared.read() == (b"", 0.0)


def test_rows_are_summed_and_each_process_writes_its_own():
    shared = SharedTable(3, 2)
    shared.row(0)[1] = 4
    shared.row(2)[:] += [1, 2]
    assert shared.total().tolist() == [1, 6] and shared.row(1).tolist() == [0, 0]


def test_a_name_has_counters_in_each_row_that_added_it():
    board = NamedCounters(2, 2)
    board.of(0, "a")[:] = [1, 2]
    board.of(1, "b")[:] = [5, 6]
    board.of(1, "a")[:] = [3, 4]
    assert {name: counts.tolist() for name, counts in board.by_name().items()} == {"a": [[1, 2], [3, 4]], "b": [[5, 6]]}


def test_a_replacement_continues_the_counters():
    board = NamedCounters(1, 1)
    board.of(0, "flights")[0] = 7
    board._known.clear()  # a new process knows none
    board.of(0, "flights")[0] += 1
    assert {name: counts.tolist() for name, counts in board.by_name().items()} == {"flights": [[8]]}


@pytest.mark.parametrize("name", ["12345678", "fl\u00fcge", f"{'n' * 64}@sha256:{'0' * 64}"])
def test_a_name_is_read_as_it_was_written(name):
    board = NamedCounters(1, 1)
    board.of(0, name)
    assert list(board.by_name()) == [name]


def test_named_counters_without_space_raise_an_error():
    board = NamedCounters(1, 1, max_names=2)
    for name in "ab":
        board.of(0, name)
    with pytest.raises(IndexError, match="no space for 'c' among 2 names"):
        board.of(0, "c")


def test_a_counter_map_counts_like_a_counter():
    board = NamedCounters(2, 1)
    own, other = CounterMap(board, 0), CounterMap(board, 1)
    own["a"] += 2
    other["a"] += 3
    other["b"] += 1
    assert (own["never"], own, len(own)) == (0, {"a": 2}, 1)
    assert own.total() == {"a": 5, "b": 1}
    del other["b"]
    assert other == {"a": 3} and own.total() == {"a": 5}


def test_flags_are_false_true_or_absent_and_any_row_is_true_if_one_is():
    board = NamedCounters(2, 1)
    own, other = FlagMap(board, 0), FlagMap(board, 1)
    own["a"], own["b"], other["a"] = False, False, True
    assert own == {"a": False, "b": False} and len(own) == 2 and other.get("b") is None
    assert own.any_row() == {"a": True, "b": False}
    assert other.pop("a") is True and own.any_row() == {"a": False, "b": False}
