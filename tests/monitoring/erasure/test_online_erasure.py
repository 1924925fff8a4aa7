"""Erase a person from online stores of both kinds: as a key, as one of several entities, and as a string."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.monitoring.erasure.test_erase import SECRET, World
from tests.storage.redis_server import PASSWORD, redis_server

from headway.features.online_rows import entity_key
from headway.monitoring.erasure.proofs import load_erasures
from headway.storage.addresses import open_online

pytestmark = pytest.mark.slow
OTHERS = ["bob", entity_key(["bob", "JFK"]), f"{SECRET}.au"]
ERASED = [SECRET, entity_key([SECRET, "JFK"]), entity_key(["JFK", SECRET])]


def made(folder: Path) -> World:
    """Return a world whose online store has rows of a person in three forms, states, and the person as a string."""
    world = World(folder)
    with closing(open_online(world.project.config)) as store:
        keys = [*ERASED, *OTHERS]
        store.write("views.v1", keys, np.ones((len(keys), 2)), np.ones(len(keys), dtype=np.int64))
        store.codes("views.v1", "name", ["bob", SECRET])
        store.replace_states("views.v1.windows", {}, {f"\x1f{SECRET}": b"1", f"7\x1f{SECRET}": b"2", "7\x1fbob": b"3"})
    return world


def expect_erased(world: World) -> None:
    found = world.erase_rows_of(key=SECRET)
    assert {part.location: part.rows for part in found.erased if part.location.startswith("online/views")} == {
        "online/views.v1": 3,
        "online/views.v1.windows": 2,
    }
    with closing(open_online(world.project.config)) as store:
        ((_, times),) = store.read([("views.v1", [*ERASED, *OTHERS])])
        assert times.tolist() == [-1] * 3 + [1] * 3
        assert store.strings("views.v1", "name", [0, 1]) == ["bob", None]
        assert [keys for keys, *_ in store.scan("views.v1.windows")] == [["7\x1fbob"]]
    assert load_erasures(world.project)[-1] == found
    assert all(residual.is_other for residual in found.residuals)


def test_a_person_is_erased_from_files(tmp_path):
    world = made(tmp_path)
    expect_erased(world)
    world.close()


@pytest.mark.services
@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_a_person_is_erased_from_a_server(tmp_path, program, monkeypatch):
    monkeypatch.setenv("HEADWAY_STORE_ONLINE_PASSWORD", PASSWORD)
    with redis_server(program) as server:
        monkeypatch.setenv("HEADWAY_STORE_ONLINE", server.address)
        world = made(tmp_path)
        expect_erased(world)
        world.close()
