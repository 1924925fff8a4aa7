"""Test every online store of headway: SQLite in files, and real servers of Redis and Valkey."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dashboard.test_dashboard_process import self_signed
from tests.storage.redis_server import PASSWORD, RedisServer, redis_server

from headway.core import plugins
from headway.core.config import Config
from headway.core.contracts import OnlineStore
from headway.core.errors import ConfigError, DataError, StoreError, StoreUnavailable
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.features.online_rows import MAX_BATCH, MAX_KEY_BYTES, NEVER_US, entity_key, entity_values
from headway.storage.addresses import known_addresses, open_online

SERVERS = ("redis", "valkey")
KINDS = ["sqlite", *(pytest.param(name, marks=pytest.mark.services) for name in SERVERS)]
Open = Callable[[], OnlineStore]


def write(store: OnlineStore, table: str = "t", *, staged: bool = False, **rows) -> int:
    """Store one row per key: its values and its time."""
    values, times = (np.array([row[part] for row in rows.values()]) for part in (0, 1))
    return store.write(table, list(rows), values.astype(float), times, staged=staged)


def read(store: OnlineStore, *keys: str, table: str = "t") -> list[list[float]]:
    """Return the values of keys."""
    ((values, _),) = store.read([(table, keys)])
    return values.tolist()


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], RedisServer]]:
    started, running = {}, {}

    def server_of(name: str) -> RedisServer:
        if name not in started:
            running[name] = redis_server(f"{name}-server")
            started[name] = running[name].__enter__()
        return started[name]

    yield server_of
    for context in running.values():
        context.__exit__(None, None, None)


@pytest.fixture(params=KINDS)
def place(request, tmp_path, monkeypatch, servers) -> str:
    """Return the setting [store] online of an empty store, relative to the test's folder."""
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    if request.param == "sqlite":
        return ""
    server = servers(request.param)
    client_of(server.address).flushall()
    return server.address


@pytest.fixture
def opened(place, tmp_path) -> Iterator[Open]:
    made: list[OnlineStore] = []

    def open_one() -> OnlineStore:
        made.append(open_online(config_of(place, tmp_path)))
        return made[-1]

    yield open_one
    for store in made:
        store.close()


@pytest.fixture
def store(opened) -> OnlineStore:
    return opened()


def config_of(address: str, folder: Path) -> Config:
    return Config(ProjectSection(state=str(folder)), StoreSection(online=address))


def client_of(address: str) -> redis.Redis:
    return redis.Redis.from_url(address, password=PASSWORD)


def test_every_store_but_the_default_is_opened_by_its_address(tmp_path):
    assert {*known_addresses("online_store"), "sqlite"} == set(plugins.own("online_store"))
    with pytest.raises(ConfigError, match="no store for online is known by the scheme 'http'"):
        open_online(config_of("http://127.0.0.1/0", tmp_path))
    with pytest.raises(ConfigError, match="is not an address") as caught:
        open_online(config_of("redis://127.0.0.1:port/0", tmp_path))
    assert caught.value.where == "[store] online"


def test_rows_come_in_the_requested_order_and_unknown_keys_are_missing(store):
    assert write(store, anna=([1.5, np.nan], 10), bob=([2.0, -0.0], 20)) == 2
    ((values, times),) = store.read([("t", ["bob", "eve", "anna", "bob"])])
    np.testing.assert_array_equal(values, [[2, -0.0], [np.nan, np.nan], [1.5, np.nan], [2, 0]])
    assert times.tolist() == [20, NEVER_US, 10, 20] and np.signbit(values[0, 1])


def test_no_keys_give_no_rows_with_the_columns_of_the_table(store):
    write(store, anna=([1.0, 2.0, 3.0], 1))
    ((values, times),) = store.read([("t", [])])
    assert values.shape == (0, 3) and times.shape == (0,)


def test_an_absent_table_is_an_error_with_the_command_that_makes_it(store):
    for keys in ([], ["anna"]):
        with pytest.raises(StoreError, match="does not exist") as caught:
            store.read([("weather.v2", keys)])
        assert caught.value.hint == "headway features materialize weather"
    with pytest.raises(StoreError, match="does not exist"):
        store.delete("weather.v2", ["anna"])
    assert store.tables() == {} and store.progress("t") == b"" and list(store.scan("t")) == []


def test_an_older_row_never_replaces_a_newer_one_and_an_equally_old_one_does(store):
    write(store, anna=([1.0], 10))
    assert write(store, anna=([2.0], 9)) == 0
    assert read(store, "anna") == [[1.0]]
    assert write(store, anna=([3.0], 10), bob=([0.0], -5)) == 2
    assert read(store, "anna", "bob") == [[3.0], [0.0]]


@pytest.mark.parametrize("times", [(-(2**63), 2**63 - 1), (2**53, 2**53 + 1), (-1, 0), (2**32 - 1, 2**32)])
def test_times_are_compared_exactly_to_the_ends_of_their_range(store, times):
    older, newer = times
    write(store, anna=([1.0], newer))
    assert write(store, anna=([2.0], older)) == 0
    write(store, bob=([1.0], older))
    assert write(store, bob=([2.0], newer)) == 1
    assert store.read([("t", ["bob"])])[0][1].tolist() == [newer]


def test_of_several_rows_of_a_key_in_a_batch_the_newest_is_stored_and_of_equal_ones_the_last(store):
    store.write("t", ["a", "a", "a", "b", "b"], np.arange(5.0)[:, None], np.array([5, 9, 9, 3, 2]))
    assert read(store, "a", "b") == [[2.0], [3.0]]


def test_many_tables_are_read_at_once_in_the_order_of_the_request(store):
    for number in range(3):
        write(store, f"t{number}", anna=([float(number)] * (number + 1), number))
    found = store.read([("t2", ["anna"]), ("t0", ["eve", "anna"]), ("t1", [])])
    assert [values.shape for values, _ in found] == [(1, 3), (2, 1), (0, 2)]
    assert found[1][1].tolist() == [NEVER_US, 0]
    assert store.tables() == {"t0": 1, "t1": 2, "t2": 3}


@pytest.mark.services
@pytest.mark.parametrize("name", SERVERS)
def test_three_tables_of_a_hundred_keys_are_one_round_trip_by_the_servers_own_count(
    name, servers, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    address, keys = servers(name).address, [f"k{number}" for number in range(100)]
    client = client_of(address)
    client.flushall()
    with closing(open_online(config_of(address, tmp_path))) as store:
        for number in range(3):
            store.write(f"t{number}", keys, np.ones((100, 8)), np.ones(100, dtype=np.int64))
        client.config_resetstat()
        for _ in range(10):
            store.read([(f"t{number}", keys) for number in range(3)])
    commands = client.info("commandstats")
    assert commands["cmdstat_hmget"]["calls"] == 30
    assert {name for name in commands if name.startswith("cmdstat_")} <= {"cmdstat_hmget", "cmdstat_info"} | OWN
    reads = client.info("stats")["total_reads_processed"]
    assert reads <= 10 + 4, "one for each call, and those of the client that counts"


OWN = {"cmdstat_config|resetstat", "cmdstat_config", "cmdstat_auth", "cmdstat_client|setinfo", "cmdstat_hello"}


def test_another_number_of_columns_is_refused_and_nothing_is_stored(store):
    write(store, anna=([1.0], 10))
    with pytest.raises(DataError, match="has 1 columns, got 2"):
        write(store, bob=([1.0, 2.0], 11), anna=([3.0, 4.0], 12))
    assert read(store, "anna", "bob") == [[1.0], [pytest.approx(np.nan, nan_ok=True)]]


def test_what_cannot_be_stored_is_refused_before_anything_is(store):
    one, at = np.zeros((1, 1)), np.zeros(1, dtype=np.int64)
    for keys, values, times, message in (
        (["a"], np.zeros((2, 1)), at, "1 keys, 2 rows and 1 times"),
        (["\ud800"], one, at, "not valid Unicode"),
        (["k" * (MAX_KEY_BYTES + 1)], one, at, "a key has at most 4,096 bytes, not 4,097"),
        (["a"], np.zeros((1, 0)), at, "1 to 4,096 features, not 0"),
        (["a"], np.zeros((1, 5000)), at, "1 to 4,096 features, not 5,000"),
        ([""] * (MAX_BATCH + 1), np.zeros((MAX_BATCH + 1, 1)), np.zeros(MAX_BATCH + 1, dtype=np.int64), "at most"),
    ):
        with pytest.raises(DataError, match=message):
            store.write("t", keys, values, times)
    assert store.tables() == {}


@pytest.mark.parametrize("table", ["", "../x", "a/b", ".hidden", "a:b", "x" * 129])
def test_a_name_that_leaves_the_store_is_refused(store, table):
    with pytest.raises(DataError, match="invalid table name"):
        store.write(table, ["a"], np.zeros((1, 1)), np.zeros(1, dtype=np.int64))


STRANGE = ["", " ", "\0", "a\0b", "'; DROP TABLE newest; --", "*", "ключ", "🛫", "\n", "%s", "k" * MAX_KEY_BYTES]


def test_strange_and_long_keys_are_kept_apart(store):
    store.write("t", STRANGE, np.arange(float(len(STRANGE)))[:, None], np.zeros(len(STRANGE), dtype=np.int64))
    assert read(store, *STRANGE) == [[float(number)] for number in range(len(STRANGE))]
    ((values, times),) = store.read([("t", ["\ud800", "k" * 100_000, "A"])])
    assert np.isnan(values).all() and times.tolist() == [NEVER_US] * 3
    assert sorted(key for keys, _, _ in store.scan("t") for key in keys) == sorted(STRANGE)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.floats(), max_size=1200))
def test_any_strings_and_numbers_are_returned_unchanged(tmp_path_factory, rows):
    with closing(open_online(config_of("", tmp_path_factory.mktemp("online")))) as store:
        keys, values = list(rows), np.array(list(rows.values())).reshape(-1, 1)
        store.write("t", keys, values, np.ones(len(keys), dtype=np.int64))
        np.testing.assert_array_equal(store.read([("t", keys)])[0][0], values)


@given(st.lists(st.text(max_size=5), min_size=2, max_size=4))
def test_the_key_of_an_entity_gives_its_values_back(values):
    assert entity_values(entity_key(values)) == tuple(values)


def test_a_key_that_only_begins_like_one_of_several_values_is_one_value():
    for key in ("", "3:ab", "12:34", "x", "5", ":", "1:a", "²:ab", "99999999999999999999999:a"):
        assert entity_values(key) == (key,)
    assert entity_key([17]) == entity_key(["17"]) == "17"


def test_a_staged_table_is_not_served_until_it_replaces_the_old_one_at_once(opened):
    one, other = opened(), opened()
    write(one, old=([1.0], 1), both=([1.0], 5))
    write(one, new=([2.0], 2), both=([2.0], 2), staged=True)
    assert np.isnan(read(other, "new")).all() and read(other, "both") == [[1.0]]
    other.publish("t")
    assert read(one, "new", "both") == [[2.0], [2.0]] and np.isnan(read(one, "old")).all()
    with pytest.raises(StoreError, match="nothing is staged"):
        one.publish("t")


def test_a_first_table_that_is_staged_does_not_exist_before_it_is_published(opened):
    one = opened()
    write(one, new=([2.0], 2), staged=True)
    assert one.tables() == {}
    with pytest.raises(StoreError, match="does not exist"):
        read(one, "new")
    one.publish("t")
    assert opened().tables() == {"t": 1} and read(one, "new") == [[2.0]]


def test_rows_written_while_another_table_is_staged_are_in_both(store):
    write(store, a=([1.0], 1))
    write(store, b=([2.0], 2), staged=True)
    write(store, a=([3.0], 3), b=([0.0], 1))
    assert read(store, "a", "b") == [[3.0], [0.0]]
    store.publish("t")
    assert read(store, "a", "b") == [[3.0], [2.0]]


def test_a_staged_table_can_be_discarded(store):
    store.discard_staged("t")
    write(store, a=([1.0], 1))
    store.write("t", ["b"], np.ones((1, 1)), np.ones(1, dtype=np.int64), staged=True, progress=b"half")
    store.discard_staged("t")
    assert store.progress("t", staged=True) == b"" and read(store, "a") == [[1.0]]
    with pytest.raises(StoreError, match="nothing is staged"):
        store.publish("t")


def test_progress_is_saved_with_the_batch_and_moves_with_the_staged_table(opened):
    one, at = opened(), np.ones(1, dtype=np.int64)
    one.write("t", ["a"], np.ones((1, 1)), at, progress=b"\xff1")
    one.write("t", ["b"], np.ones((1, 1)), at, staged=True, progress=b"2")
    one.write("t", ["c"], np.ones((1, 1)), at)
    assert (opened().progress("t"), opened().progress("t", staged=True)) == (b"\xff1", b"2")
    with pytest.raises(DataError):
        one.write("t", ["c"], np.ones((1, 2)), at, progress=b"3")
    assert one.progress("t") == b"\xff1"
    one.publish("t")
    assert one.progress("t") == b"2" and one.progress("t", staged=True) == b""
    one.write("t", [], np.ones((0, 1)), at[:0], progress=b"4")
    assert one.progress("t") == b"4"


def test_staged_rows_are_scanned_apart_and_their_table_is_listed_apart(store):
    write(store, "live", bob=([1.0], 1))
    write(store, "next", staged=True, eve=([2.0], 2))
    assert (store.tables(), store.tables(staged=True)) == ({"live": 1}, {"next": 1})
    assert [keys for keys, *_ in store.scan("next")] == [] and [
        keys for keys, *_ in store.scan("live", staged=True)
    ] == []
    assert [keys for keys, *_ in store.scan("next", staged=True)] == [["eve"]]
    store.publish("next")
    assert (sorted(store.tables()), store.tables(staged=True)) == (["live", "next"], {})


def test_a_scan_gives_every_row_in_batches(store):
    keys = [f"k{number}" for number in range(2500)]
    store.write("t", keys, np.arange(2500.0)[:, None], np.arange(2500))
    found = {}
    for part, values, times in store.scan("t"):
        assert len(part) < 2500 and values.shape == (len(part), 1)
        found.update(zip(part, zip(values[:, 0], times, strict=True), strict=True))
    assert found == {key: (number, number) for number, key in enumerate(keys)}


def test_strings_get_codes_that_stay_and_come_back_as_strings(opened):
    one, other = opened(), opened()
    assert one.codes("t", "carrier", ["UA", "AA", "UA", ""]).tolist() == [0, 1, 0, 2]
    assert other.codes("t", "carrier", ["DL", "AA", "ключ"]).tolist() == [3, 1, 4]
    assert one.codes("t", "origin", ["AA"]).tolist() == [0]
    write(one, k=([1.0], 1))
    assert one.strings("t", "carrier", [3, 0, 4, 7, 2]) == ["DL", "UA", "ключ", None, ""]
    assert one.strings("t", "absent", [0]) == [None]
    with pytest.raises(DataError, match="at most 4,096 bytes"):
        one.codes("t", "carrier", ["x" * 5000])


def test_states_are_replaced_together_only_if_no_other_process_changed_them(opened):
    one, other = opened(), opened()
    there = {"head": b"\xff\0", "1": b""}
    assert one.replace_states("t.windows", {"head": None}, there) is None
    assert other.replace_states("t.windows", {"head": None}, {"head": b"x", "2": b"y"}) == {"head": b"\xff\0"}
    assert other.replace_states("t.windows", {"head": b"\xff\0", "1": None}, {"1": b"x"}) == there
    assert other.replace_states("t.windows", {"2": b""}, {}, progress=b"no") == {"2": None}
    done = other.replace_states(
        "t.windows", {"head": b"\xff\0", "2": None}, {"head": b"3", "1": None, "absent": None}, progress=b"half"
    )
    assert done is None and one.progress("t.windows") == b"half"
    write(one, k=([1.0], 7))
    rows, states = one.read_with_states([("t", ["k"])], [("t.windows", ["1", "head"]), ("t.windows", [])])
    assert rows[0][1].tolist() == [7] and states == [[None, b"3"], []]
    assert one.tables() == {"t": 1, "t.windows": 0} and [keys for keys, *_ in one.scan("t.windows")] == [["head"]]
    with pytest.raises(DataError, match="the table has 1 columns"):
        one.replace_states("t", {}, {"head": b""})
    with pytest.raises(DataError, match="the table has 0 columns"):
        write(one, "t.windows", k=([1.0], 7))
    with pytest.raises(StoreError, match="does not exist"):
        one.read_with_states([("t", ["k"])], [("absent", ["1"])])
    assert one.replace_states("t.windows", {}, {"new": b"4"}, staged=True, progress=b"all") is None
    assert one.replace_states("t.windows", {"new": None}, {}, staged=True) == {"new": b"4"}
    assert one.progress("t.windows") == b"half" and one.progress("t.windows", staged=True) == b"all"
    assert one.read_with_states([], [("t.windows", ["head", "new"])])[1] == [[b"3", None]]
    one.publish("t.windows")
    assert one.read_with_states([], [("t.windows", ["head", "new"])])[1] == [[None, b"4"]]
    assert one.progress("t.windows") == b"all"


def test_a_deleted_key_is_gone_from_rows_staged_rows_and_vocabulary_and_its_code_is_not_given_again(opened):
    one, other = opened(), opened()
    for staged in (False, True):
        write(one, anna=([1.0], 1), bob=([2.0], 2), staged=staged)
    one.codes("t", "name", ["anna", "bob"])
    assert other.strings("t", "name", [0, 1]) == ["anna", "bob"]
    assert one.delete("t", ["anna", "eve", "\ud800"]) == 1
    assert np.isnan(read(other, "anna")).all() and read(other, "bob") == [[2.0]]
    assert other.strings("t", "name", [0, 1]) == [None, "bob"]
    assert one.codes("t", "name", ["carl", "anna"]).tolist() == [2, 3]
    one.publish("t")
    assert np.isnan(read(other, "anna")).all() and read(other, "bob") == [[2.0]]


def test_after_a_deletion_no_byte_is_left_in_any_file(store, place, tmp_path, servers):
    folder = tmp_path / "online"
    if place:
        server = next(server for server in map(servers, SERVERS) if server.address == place)
        folder = server.folder
    keys = ["SECRET-KEY", *(f"k{number}" for number in range(300))]
    for at in range(5):
        store.write("t", keys, np.full((301, 3), float(at)), np.full(301, at))
    store.codes("t", "name", ["SECRET-KEY"])
    if place:
        client_of(place).save()
        assert found_in(folder)
    store.delete("t", ["SECRET-KEY"])
    while place and saving(place):
        pass
    assert not found_in(folder)
    assert read(store, "k3") == [[4.0] * 3]


def found_in(folder: Path) -> bool:
    return any(b"SECRET-KEY" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def saving(address: str) -> bool:
    found = client_of(address).info("persistence")
    return bool(found["rdb_bgsave_in_progress"]) or found["rdb_last_bgsave_status"] != "ok"


def test_a_dropped_table_is_gone_for_who_had_it_open(opened):
    one, other = opened(), opened()
    write(one, anna=([1.0], 1))
    one.codes("t", "name", ["anna"])
    assert read(other, "anna") == [[1.0]]
    one.drop("t")
    one.drop("t")
    assert one.tables() == {} and one.strings("t", "name", [0]) == [None]
    with pytest.raises(StoreError, match="does not exist"):
        read(other, "anna")
    write(one, anna=([1.0, 2.0], 1))
    assert read(other, "anna") == [[1.0, 2.0]]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.storage.addresses import open_online

address, folder, number, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = open_online(Config(ProjectSection(state=folder), StoreSection(online=address)))
keys, at = [f"k{key}" for key in range(200)], number
print("ready", flush=True)
for round in range(rounds):
    store.write("t", keys, np.full((200, 3), float(at)), np.full(200, at), progress=str(at).encode())
    at += 4
    if number == 0 and round == 2:
        print("written", flush=True)
"""


def started(place: str, tmp_path: Path, number: int, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, place, str(tmp_path), str(number), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_of_several_writing_processes_the_newest_rows_remain_whole(store, place, tmp_path):
    writers = [started(place, tmp_path, number, 25) for number in range(3)]
    for process in writers:
        with process:
            assert process.wait() == 0
    values, times = store.read([("t", [f"k{number}" for number in range(200)])])[0]
    assert (values == 24 * 4 + 2).all() and (times == 24 * 4 + 2).all()


@pytest.mark.slow
def test_a_writer_killed_in_the_middle_leaves_whole_batches(store, place, tmp_path):
    for round in range(5):
        with started(place, tmp_path, 0, 100_000) as process:
            for _ in range(2):
                assert process.stdout.readline()
            for _ in range(round * 5):
                read(store, "k0")
            process.send_signal(signal.SIGKILL)
        progress = None
        while progress != (progress := store.progress("t")):  # a server may still work on what it was sent
            values, times = store.read([("t", [f"k{number}" for number in range(200)])])[0]
        assert len(set(times)) == 1 and (values == times[0]).all(), "a batch is stored whole or not at all"
        assert progress == str(times[0]).encode() or times[0] > int(progress)


def test_threads_may_read_while_another_writes(store):
    write(store, anna=([0.0], 0))
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(read(store, "anna")[0][0] for _ in range(200)))
    reader.start()
    for at in range(1, 60):
        write(store, anna=([float(at)], at))
    reader.join()
    assert seen == sorted(seen) and len(seen) == 200


def test_it_can_be_closed_twice_and_used_again(store):
    write(store, anna=([1.0], 10))
    store.close()
    store.close()
    assert read(store, "anna") == [[1.0]]


@pytest.mark.slow
def test_a_large_read_is_answered_in_parts(store):
    write(store, k=([1.0, 2.0], 1))
    ((values, _), (other, _)) = store.read([("t", ["k", "x"] * 15_000), ("t", ["k"])])
    assert values.shape == (30_000, 2) and np.nansum(values) == 45_000 and other.tolist() == [[1.0, 2.0]]


@pytest.mark.services
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_is_gone_is_an_error_and_is_reached_again(name, servers, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    server = servers(name)
    client_of(server.address).flushall()
    with closing(open_online(config_of(server.address, tmp_path))) as store:
        write(store, anna=([1.0], 10))
        server.stop()
        for saved in server.folder.glob("*.rdb"):
            saved.unlink()
        calls = (
            lambda: read(store, "anna"),
            lambda: write(store, anna=([1.0], 10)),
            lambda: store.codes("t", "name", ["x"]),
            store.tables,
            lambda: store.progress("t"),
            lambda: store.delete("t", ["x"]),
        )
        for call in calls:
            with pytest.raises(StoreUnavailable, match="the store for online does not answer") as caught:
                call()
            assert caught.value.role == "online"
        server.start()
        with pytest.raises(StoreError, match="does not exist"):
            read(store, "anna")  # never missing values: the table is lost
        write(store, anna=([2.0], 10))
        assert read(store, "anna") == [[2.0]]
        server.stop()
        server.start()
        write(store, anna=([3.0], 10))  # at the first call after the connection was lost


@pytest.mark.services
@pytest.mark.parametrize("name", SERVERS)
def test_after_a_refused_or_late_answer_the_next_read_gets_its_own(name, servers, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    monkeypatch.setattr("headway.storage._redis.TIMEOUT_S", 0.5)
    server = servers(name)
    client = client_of(server.address)
    client.flushall()
    with closing(open_online(config_of(server.address, tmp_path))) as store:
        write(store, anna=([1.0], 10), ben=([2.0], 10))
        write(store, "u", anna=([3.0], 10))
        client.set("headway:online:broken", "a string")
        for tables in (["broken"], ["t", "broken", "u"]):
            with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
                store.read([(table, ["anna"]) for table in tables])
            assert read(store, "ben") == [[2.0]]
        with server.paused(), pytest.raises(StoreUnavailable, match="Timeout"):
            read(store, "ben")
        assert read(store, "anna", table="u") == [[3.0]] and read(store, "anna", "ben") == [[1.0], [2.0]]
        client.client_kill_filter(_type="normal", skipme=True)  # as a server does with idle connections
        assert read(store, "anna") == [[1.0]]


@pytest.mark.services
@pytest.mark.parametrize("name", SERVERS)
def test_rows_are_read_over_tls_from_a_server_that_is_verified(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    certificate = self_signed(tmp_path / "server.pem")
    with redis_server(f"{name}-server", certificate=certificate) as server:
        address = server.address.replace("redis://127.0.0.1", "rediss://localhost")
        with closing(open_online(config_of(f"{address}?ssl_ca_certs={certificate}", tmp_path))) as store:
            write(store, anna=([1.0], 10))
            assert read(store, "anna") == [[1.0]]
        with closing(open_online(config_of(address, tmp_path))) as store, pytest.raises(StoreUnavailable):
            read(store, "anna")


@pytest.mark.services
def test_a_wrong_password_is_an_error_that_shows_no_password(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", "t0psecret")
    store = open_online(config_of(servers("redis").address, tmp_path))
    with closing(store), pytest.raises(StoreUnavailable) as caught:
        store.tables()
    assert "t0psecret" not in str(caught.value) and "HEADWAY_STORE_ONLINE_PASSWORD" in caught.value.hint
