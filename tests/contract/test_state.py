"""Test every installed state store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.core.contracts import Signed, State
from headway.core.errors import PointerMoved, StoreError
from headway.core.plugins import load_state, names
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate


@pytest.fixture(params=names("state"))
def kind(request: pytest.FixtureRequest) -> type[State]:
    return load_state(request.param)


@pytest.fixture
def state(kind: type[State], tmp_path: Path) -> Iterator[State]:
    opened = kind(tmp_path)
    yield opened
    opened.close()


def move(number: int, previous: Signed | None, *, at: str = "flights@live", release: str = "sha256:r") -> Signed:
    name, _, pointer = at.partition("@")
    end = digest_of(previous.content) if previous else ""
    made = PointerUpdate(
        name=name, pointer=pointer, number=number, release=release, previous=end, at="t", who="ann", why="new"
    )
    return Signed(content=write(made), signature=b"signature")


def test_updates_are_saved_in_order_and_by_pointer(state: State) -> None:
    first = move(1, None)
    second = move(1, first, at="flights@canary")
    third = move(2, second)
    assert all(state.append(item) for item in (first, second, third))
    assert state.updates() == state.updates("flights") == [first, second, third]
    assert state.updates("flights", "live") == [first, third]
    assert state.updates("hotels") == []
    assert (state.updates(since=2), state.updates("flights", "live", since=2)) == ([second, third], [third])
    assert (state.last(), state.last("flights", "canary"), state.last("hotels")) == (third, second, None)


def test_an_update_of_a_pointer_that_moved_first_names_its_current_release(state: State) -> None:
    state.append(move(1, None, release="sha256:theirs"))
    with pytest.raises(PointerMoved, match=r"flights@live is at sha256:theirs by update 1 \(ann: new\)"):
        state.append(move(1, None, release="sha256:ours"))
    assert len(state.updates()) == 1


def test_an_update_that_skips_a_number_is_refused_as_the_pointer_was_never_set(state: State) -> None:
    with pytest.raises(PointerMoved, match="flights@live was never set, so update 2 does not follow"):
        state.append(move(2, None))


def test_an_update_chained_to_an_older_end_is_not_saved(state: State) -> None:
    first = move(1, None)
    state.append(first)
    assert not state.append(move(1, None, at="flights@canary"))
    assert state.updates() == [first]


def test_bytes_that_are_not_an_update_are_refused(state: State) -> None:
    with pytest.raises(StoreError, match="not a record 'pointer_update'"):
        state.append(Signed(content=b"{}", signature=b""))


@pytest.mark.slow
def test_of_two_simultaneous_updates_one_wins_and_one_is_refused(kind: type[State], tmp_path: Path) -> None:
    previous = None
    for number in range(1, 21):
        answers = _race(kind, tmp_path, [move(number, previous, release=f"sha256:{who}") for who in "ab"])
        assert sorted(answers) == ["refused", "won"]
        with_end = kind(tmp_path)
        previous = with_end.last()
        with_end.close()


def _race(kind: type[State], folder: Path, moves: list[Signed]) -> list[str]:
    """Return the result of each update that threads, each with its own store, append at the same time."""
    gate, answers = threading.Barrier(len(moves)), []

    def run(signed: Signed) -> None:
        state = kind(folder)
        gate.wait()
        try:
            answers.append("won" if state.append(signed) else "lost")
        except PointerMoved:
            answers.append("refused")
        state.close()

    threads = [threading.Thread(target=run, args=(item,)) for item in moves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_records_are_saved_once_by_kind_and_name_in_order(state: State) -> None:
    digest = state.save("evidence", b"one", name="flights")
    state.save("evidence", b"two", name="flights")
    state.save("evidence", b"one", name="flights")
    state.save("evidence", b"one", name="hotels")
    state.save("verdict", b"pass", name="flights")
    assert digest == digest_of(b"one")
    assert state.records("evidence", name="flights") == [b"one", b"two"]
    assert state.records("evidence") == [b"one", b"two", b"one"]
    assert state.records("verdict", digest=digest_of(b"pass")) == [b"pass"]
    assert state.records("verdict", digest=digest) == []


def test_every_evaluation_of_the_test_set_is_counted_by_name_and_dataset(state: State) -> None:
    assert state.test_evaluations("flights", "sha256:a") == 0
    assert [state.count_evaluation("flights", "sha256:a") for _ in range(3)] == [1, 2, 3]
    assert state.count_evaluation("flights", "sha256:b") == state.count_evaluation("hotels", "sha256:a") == 1
    assert state.test_evaluations("flights", "sha256:a") == 3


def test_saved_records_are_there_after_reopening(kind: type[State], tmp_path: Path) -> None:
    state = kind(tmp_path)
    state.append(move(1, None))
    state.save("verdict", b"pass", name="flights")
    state.count_evaluation("flights", "sha256:a")
    state.close()
    state.close()
    again = kind(tmp_path)
    assert again.updates() == [move(1, None)]
    assert again.records("verdict") == [b"pass"]
    assert again.test_evaluations("flights", "sha256:a") == 1
    again.close()


@pytest.mark.slow
def test_many_that_open_a_new_state_at_once_all_can(kind: type[State], tmp_path: Path) -> None:
    for number in range(10):
        folder, gate, counts = tmp_path / str(number), threading.Barrier(4), []
        threads = [threading.Thread(target=_open_and_count, args=(kind, folder, gate, counts)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts) == [1, 2, 3, 4]


def _open_and_count(kind: type[State], folder: Path, gate: threading.Barrier, counts: list[int]) -> None:
    gate.wait()
    state = kind(folder)
    counts.append(state.count_evaluation("flights", "sha256:a"))
    state.close()


def test_the_latest_record_is_the_one_saved_last(state: State) -> None:
    assert state.latest("rollout", name="flights") is None
    for content in (b"one", b"two"):
        state.save("rollout", content, name="flights")
    state.save("rollout", b"other", name="hotels")
    state.save("verdict", b"kind", name="flights")
    assert state.latest("rollout", name="flights") == b"two"
