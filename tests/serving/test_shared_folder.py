"""Servers of two machines that share pointers, records and API keys by a state of files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.monitoring import rollouts
from tests.serving.test_outage import PATIENCE_S, REASON, Server, serving

from headway.core.config import load
from headway.core.release import version_of
from headway.core.rollout import Plan, RolloutStage
from headway.monitoring import rollout as control
from headway.registry.key_assignment import assign_key
from headway.serving.auth.keys import create_key, keys_file, revoke_key
from headway.serving.auth.shared_keys import keys_of_all_servers

pytestmark = pytest.mark.slow
HALF = Plan(stages=(RolloutStage(share=0.5),))


class Machines:
    """Two folders of one project, `first` live, and `second` published on both."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        (self.shared / "state").mkdir(parents=True)
        self.folders = [folder / "one", folder / "other"]
        self.folders[0].mkdir()
        section = f'[store]\nstate = "file://{self.shared}/state"\n'
        self.project = rollouts.project(self.folders[0], toml=rollouts.TOML + section)
        self.first = rollouts.live(self.project, rollouts.release(made_at="1"))
        self.second = rollouts.publish(self.project, rollouts.release(made_at="2"))
        shutil.copytree(*self.folders)

    @contextmanager
    def serving(self) -> Iterator[list[Server]]:
        """Run a server on each machine."""
        with ExitStack() as stack:
            yield [stack.enter_context(serving(folder)) for folder in self.folders]


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    monkeypatch.setenv("HEADWAY_SERVE_WORKERS", "1")
    return Machines(tmp_path)


def ask(server: Server, key: str = "", *, as_caller: str = "") -> tuple[int, str]:
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "ab"]
    return server.ask("/v2/models/flights/infer", {"inputs": inputs, "parameters": {"key": key}}, key=as_caller)


def until_all(servers: list[Server], status: int, *, as_caller: str = "") -> None:
    ends = time.monotonic() + PATIENCE_S
    while {ask(server, as_caller=as_caller)[0] for server in servers} != {status}:
        assert time.monotonic() < ends


def test_both_servers_follow_a_move_and_go_on_while_the_folder_is_away(machines: Machines) -> None:
    with machines.serving() as servers:
        machines.project.registry.point("flights@live", machines.second, REASON)
        for server in servers:
            server.until(version_of(machines.second))
        away = (machines.shared / "state").rename(machines.shared / "away")
        for server in servers:
            server.until_ready_with("the store for state is away")
        away.rename(machines.shared / "state")
        machines.project.registry.point("flights@live", machines.first, REASON)
        for server in servers:
            server.until(version_of(machines.first))
            server.until_ready_with("")


def test_a_key_of_a_canary_is_answered_by_the_same_release_on_both_servers(machines: Machines) -> None:
    with machines.serving() as servers:
        rollout = control.start_rollout(machines.project, machines.second, plan=HALF, who="ann")
        keys = [f"k{number}" for number in range(40)]
        expected = [machines.second if assign_key(key, rollout.salt, 0.5) else machines.first for key in keys]
        canary, ends = keys[expected.index(machines.second)], time.monotonic() + PATIENCE_S
        while not all(version_of(machines.second) in ask(server, canary)[1] for server in servers):
            assert time.monotonic() < ends
        for key, release in zip(keys, expected, strict=True):
            assert all(version_of(release) in ask(server, key)[1] for server in servers)
        assert set(expected) == {machines.first, machines.second}


def test_an_api_key_that_one_machine_creates_or_revokes_holds_on_both_servers(machines: Machines) -> None:
    one, other = (load(folder) for folder in machines.folders)
    with machines.serving() as servers:
        with keys_of_all_servers(one, change=True):
            key = create_key(keys_file(one), "shop", ["predict"])
        until_all(servers, 401)
        until_all(servers, 200, as_caller=key)
        with keys_of_all_servers(other, change=True):
            revoke_key(keys_file(other), "shop")
        until_all(servers, 401, as_caller=key)
    with ExitStack() as stack:
        (machines.shared / "state").rename(machines.shared / "away")
        server = stack.enter_context(serving(machines.folders[0]))
        assert ask(server, as_caller=key)[0] == 401, "what was fetched holds while the state is away"
