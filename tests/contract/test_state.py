"""Test every installed state store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from headway.core.contracts import Signed, State
from headway.core.errors import LeaseHeld, PointerMoved, StoreError
from headway.core.plugins import load_state, names
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.storage.addresses import known_addresses

Open = Callable[[], State]
ON_SERVERS = set(known_addresses("state")) - {"file"}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.services] * (name in ON_SERVERS)) for name in names("state")]
)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a plug-in."""
    name: str = request.param
    return name


@pytest.fixture
def address(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> str:
    """The address of a new store."""
    if backend in ON_SERVERS:
        return str(request.getfixturevalue(backend))
    return f"file://{tmp_path}" if backend == "file" else str(tmp_path)


@pytest.fixture
def store(backend: str, address: str) -> Open:
    """Opens one and the same store with each call."""
    return lambda: load_state(backend)(address)


@pytest.fixture
def state(store: Open) -> Iterator[State]:
    opened = store()
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


WRITERS = 32


@pytest.mark.parametrize(
    "rounds", [pytest.param(10, marks=pytest.mark.slow), pytest.param(200, marks=[pytest.mark.long])]
)
def test_of_many_writers_exactly_one_wins_each_round_and_the_others_read_who(store: Open, rounds: int) -> None:
    with closing(store()) as state, ThreadPoolExecutor(WRITERS) as pool:
        writers = [store() for _ in range(WRITERS)]
        previous = None
        for number in range(1, rounds + 1):
            moves = [move(number, previous, release=f"sha256:{who}") for who in range(WRITERS)]
            results = list(pool.map(_append, writers, moves, [threading.Barrier(WRITERS)] * WRITERS))
            (winner,) = [index for index, result in enumerate(results) if result == "won"]
            others = results[:winner] + results[winner + 1 :]
            assert others == [f"flights@live is at sha256:{winner} by update {number}"] * (WRITERS - 1)
            previous = moves[winner]
            assert (state.last("flights", "live"), len(state.updates())) == (previous, number)
        for writer in writers:
            writer.close()


def _append(state: State, signed: Signed, gate: threading.Barrier) -> str:
    gate.wait()
    try:
        return "won" if state.append(signed) else "lost"
    except PointerMoved as error:
        return error.what.partition(" (")[0]


def test_what_one_wrote_others_read_at_once(store: Open) -> None:
    with closing(store()) as writer, closing(store()) as reader:
        first = move(1, None)
        assert writer.append(first)
        assert (reader.last(), reader.updates()) == (first, [first])
        for content in (b"one", b"two"):
            writer.save("rollout", content, name="flights")
            assert reader.latest("rollout", name="flights") == content
        assert [reader.count_evaluation("flights", "d"), writer.count_evaluation("flights", "d")] == [1, 2]


@pytest.mark.slow
def test_records_saved_at_the_same_time_never_change_their_order(store: Open) -> None:
    with closing(store()) as state, ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_save_some, store, writer) for writer in range(4)]
        seen: list[bytes] = []
        while len(seen) < 4 * 25:
            now = state.records("rollout")
            assert now[: len(seen)] == seen
            assert all(job.exception() is None for job in jobs if job.done())
            seen = now
    for writer in range(4):
        own = [content for content in seen if content.startswith(b"%d " % writer)]
        assert own == [b"%d %d" % (writer, number) for number in range(25)]


def _save_some(store: Open, writer: int) -> None:
    with closing(store()) as state:
        for number in range(25):
            state.save("rollout", b"%d %d" % (writer, number), name="flights")


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


def test_saved_records_are_there_after_reopening(store: Open) -> None:
    state = store()
    state.append(move(1, None))
    state.save("verdict", b"pass", name="flights")
    state.count_evaluation("flights", "sha256:a")
    state.close()
    state.close()
    again = store()
    assert again.updates() == [move(1, None)]
    assert again.records("verdict") == [b"pass"]
    assert again.test_evaluations("flights", "sha256:a") == 1
    again.close()


@pytest.mark.slow
def test_many_that_open_a_new_state_at_once_all_can(store: Open) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(_open_and_count, [store] * 8, [threading.Barrier(8)] * 8))
    assert sorted(counts) == list(range(1, 9))


def _open_and_count(store: Open, gate: threading.Barrier) -> int:
    gate.wait()
    with closing(store()) as state:
        return state.count_evaluation("flights", "sha256:a")


def test_the_latest_record_is_the_one_saved_last(state: State) -> None:
    assert state.latest("rollout", name="flights") is None
    for content in (b"one", b"two"):
        state.save("rollout", content, name="flights")
    state.save("rollout", b"other", name="hotels")
    state.save("verdict", b"kind", name="flights")
    assert state.latest("rollout", name="flights") == b"two"


def test_all_records_are_read_in_parts_in_their_order(state: State) -> None:
    saved = [("evidence", "flights", b"one"), ("verdict", "flights", b"two"), ("evidence", "", b"three")]
    for kind, name, content in saved:
        state.save(kind, content, name=name)
    first = state.all_records(limit=2)
    assert [record[1:] for record in first] == saved[:2]
    assert [record[1:] for record in state.all_records(after=first[-1].position)] == saved[2:]
    assert state.all_records(after=state.all_records()[-1].position) == []


def test_records_of_a_kind_are_read_in_pages_newest_first(state: State) -> None:
    contents = [b"one", b"two", b"three", b"four", b"five"]
    for content in contents:
        state.save("rollout", content, name="flights")
        state.save("rollout", b"not " + content, name="hotels")
        state.save("verdict", content, name="flights")
    first = state.recent("rollout", name="flights", limit=2)
    assert [saved[1:] for saved in first] == [("rollout", "flights", b"five"), ("rollout", "flights", b"four")]
    rest = state.recent("rollout", name="flights", before=first[-1].position)
    assert [saved.content for saved in first + rest] == contents[::-1]
    assert state.recent("rollout", name="flights", before=rest[-1].position) == []
    assert [saved.content for saved in state.recent("rollout", limit=3)] == [b"not five", b"five", b"not four"]
    assert {saved.position for saved in first} <= {saved.position for saved in state.all_records()}
    counts = [state.count("rollout"), state.count("rollout", name="flights"), state.count("evidence", name="flights")]
    assert counts == [10, 5, 0]


def test_updates_are_read_in_pages_newest_first(state: State) -> None:
    chain: list[Signed] = []
    for number in range(1, 4):
        for pointer in ("live", "canary"):
            chain.append(move(number, chain[-1] if chain else None, at=f"flights@{pointer}"))
            assert state.append(chain[-1])
    assert [tuple(saved) for saved in state.recent_updates(limit=2)] == [(6, chain[5]), (5, chain[4])]
    assert [tuple(saved) for saved in state.recent_updates("flights", "live", limit=2)] == [
        (5, chain[4]),
        (3, chain[2]),
    ]
    assert [tuple(saved) for saved in state.recent_updates("flights", "live", before=3)] == [(1, chain[0])]
    assert [saved.position for saved in state.recent_updates("flights", before=99)] == [6, 5, 4, 3, 2, 1]
    assert state.recent_updates("hotels") == state.recent_updates("flights", "live", before=1) == []


def test_all_evaluations_are_counted_by_name_and_dataset(state: State) -> None:
    assert state.all_evaluations() == {}
    for name, dataset in (("flights", "a"), ("flights", "a"), ("hotels", "a")):
        state.count_evaluation(name, dataset)
    assert state.all_evaluations() == {("flights", "a"): 2, ("hotels", "a"): 1}


def test_a_lease_is_held_by_one_at_a_time_who_is_named(store: Open) -> None:
    one, other = store(), store()
    with one.lease("flights.watch") as lease:
        holder = rf"flights\.watch is already being done by process {os.getpid()} of {socket.gethostname()}"
        for state in (one, other):
            with pytest.raises(LeaseHeld, match=holder), state.lease("flights.watch"):
                pass
        with other.lease("flights.retrain"), other.lease("../hotels.watch"):
            lease.expect_held()
    with other.lease("flights.watch"):
        pass
    one.close()
    other.close()


def test_a_lease_ends_with_the_work_that_failed(state: State) -> None:
    with pytest.raises(ValueError, match="failed"), state.lease("flights.watch"):
        raise ValueError("failed")
    with state.lease("flights.watch"):
        pass


HOLDER = """
import sys, time
from headway.core.plugins import load_state
with load_state(sys.argv[1])(sys.argv[2]).lease("flights.watch"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_the_lease_of_a_killed_process_is_free(backend: str, address: str, store: Open) -> None:
    with (
        closing(store()) as state,
        subprocess.Popen([sys.executable, "-c", HOLDER, backend, address], stdout=subprocess.PIPE) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeld, match=f"process {holder.pid}"), state.lease("flights.watch"):
            pass
        holder.kill()
        holder.wait()
        deadline = time.monotonic() + 30
        while not _is_free(state, "flights.watch"):
            assert time.monotonic() < deadline


def _is_free(state: State, name: str) -> bool:
    try:
        with state.lease(name):
            return True
    except LeaseHeld:
        return False


APPENDER = """
import sys
from headway.core.contracts import Signed
from headway.core.plugins import load_state
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
state, previous = load_state(sys.argv[1])(sys.argv[2]), ""
for number in range(1, 100_000):
    move = PointerUpdate(
        name="f", pointer="live", number=number, release="r", previous=previous, at="t", who="a", why="b"
    )
    assert state.append(Signed(content=write(move), signature=b"s"))
    state.save("rollout", b"%d" % number, name="f")
    previous = digest_of(write(move))
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("answers", [1, 30])
def test_a_process_killed_while_it_writes_keeps_every_acknowledged_update_and_record(
    backend: str, address: str, store: Open, answers: int
) -> None:
    command = [sys.executable, "-c", APPENDER, backend, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(answers)]
        process.kill()
        answered += [int(line) for line in process.stdout.read().splitlines()]
    with closing(store()) as state:
        assert len(state.updates()) in {answered[-1], answered[-1] + 1}
        assert len(state.records("rollout")) in {answered[-1], answered[-1] + 1}
        assert state.count_evaluation("f", "sha256:a") == 1
