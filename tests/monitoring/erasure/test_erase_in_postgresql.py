"""An erasure in a project whose pointers and records are in PostgreSQL."""

from __future__ import annotations

import pytest
from tests.monitoring.erasure.test_erase import SECRET, World

from headway.monitoring.erasure.proofs import load_erasures
from headway.monitoring.erasure.row_stores import PART_OF_WORD
from headway.registry.project import open_project
from headway.registry.stores import migrate_store

pytestmark = [pytest.mark.services, pytest.mark.slow]


def test_the_proof_names_what_remains_in_the_database(tmp_path, postgresql):
    world = World(tmp_path)
    migrate_store(world.project.config, str(world.state), postgresql)
    with (tmp_path / "headway.toml").open("a") as file:
        file.write(f'[store]\nstate = "{postgresql}"\n')
    world.close()
    world.project = open_project(tmp_path)
    state = world.project.state
    state.save("note", f"a word: {SECRET}s".encode(), name="flights")
    (found,) = world.erase_rows_of(key=SECRET).residuals
    assert (found.location, found.times, found.why) == ("database", 1, PART_OF_WORD)
    state.save("note", f"as it is: {SECRET}".encode(), name="flights")
    (found,) = world.erase_rows_of(key=SECRET).residuals
    assert (found.location, found.times, found.is_other) == ("database", 2, False)
    assert len(load_erasures(world.project)) == 2
    world.close()
