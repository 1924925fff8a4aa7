"""API keys that hold on all machines that share the state."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from tests.monitoring import rollouts

from headway.core.config import Config, load
from headway.core.errors import HeadwayError, LeaseHeld, StoreUnavailable
from headway.core.record import write
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import create_publisher, load_publisher
from headway.serving.auth.keys import ApiKey, create_key, keys_file, read_keys, revoke_key
from headway.serving.auth.shared_keys import KeyList, SharedKeys, keys_of_all_servers
from headway.storage.addresses import open_state

KIND = "key_list"


@pytest.fixture
def machines(tmp_path: Path) -> list[Config]:
    """Two machines of one project, which share a state."""
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in (folders[0], tmp_path / "state"):
        folder.mkdir()
    toml = f'{rollouts.TOML}[store]\nstate = "file://{tmp_path}/state"\n'
    rollouts.project(folders[0], toml=toml).state.close()
    shutil.copytree(*folders)
    return [load(folder) for folder in folders]


def new(config: Config, name: str) -> None:
    with keys_of_all_servers(config, change=True):
        create_key(keys_file(config), name, ["predict"])


def revoke(config: Config, name: str) -> None:
    with keys_of_all_servers(config, change=True):
        revoke_key(keys_file(config), name)


def known(config: Config) -> dict[str, bool]:
    """Return the keys that a machine knows, each with whether it is revoked."""
    with keys_of_all_servers(config, change=False):
        return {name: bool(key.revoked) for name, key in read_keys(keys_file(config)).items()}


def test_a_key_of_one_machine_is_known_and_revoked_on_all(machines: list[Config]) -> None:
    one, other = machines
    new(one, "shop")
    new(other, "desk")
    assert known(one) == known(other) == {"shop": False, "desk": False}
    revoke(other, "shop")
    assert known(one) == known(other) == {"shop": True, "desk": False}
    with pytest.raises(HeadwayError, match="exists already"):
        new(one, "desk")


def test_keys_of_before_are_shared_with_the_first_change(machines: list[Config]) -> None:
    one, other = machines
    create_key(keys_file(one), "before", ["predict"])
    assert known(other) == {}
    new(one, "shop")
    assert known(other) == {"before": False, "shop": False}


def test_an_old_list_undoes_no_revocation(machines: list[Config]) -> None:
    one, other = machines
    new(one, "shop")
    with closing(open_state(one)) as state:
        (old,) = state.records(KIND)
        revoke(one, "shop")
        state.save(KIND, old + b" ", name="flights")
    assert known(other) == {"shop": True}


def forged(config: Config, tmp_path: Path) -> bytes:
    """A list that an untrusted publisher signed."""
    publisher = create_publisher(tmp_path / "eve.pem")
    return msgspec.json.encode(publisher.sign(write(KeyList(name="flights", keys={"eve": EVE}))))


def of_another_project(config: Config, tmp_path: Path) -> bytes:
    """A list that the publisher signed for another project."""
    publisher = load_publisher(config.path(config[TrustSection].publisher_key))
    return msgspec.json.encode(publisher.sign(write(KeyList(name="hotels", keys={"eve": EVE}))))


EVE = ApiKey(sha256="e" * 64, scopes=("predict",), made="2026-11-28T00:00:00Z")


@pytest.mark.parametrize("make", [forged, of_another_project, lambda config, tmp_path: b"\xff"])
def test_a_list_that_no_publisher_signed_for_this_project_is_left_out_and_logged(
    machines: list[Config], tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Config, Path], bytes]
) -> None:
    one, other = machines
    new(one, "shop")
    with closing(open_state(one)) as state:
        state.save(KIND, make(one, tmp_path), name="flights")
    assert known(other) == {"shop": False}
    assert "API keys in the state were left out" in caplog.text


def test_a_server_keeps_its_keys_and_logs_once_why_it_cannot_follow(
    machines: list[Config], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = machines
    new(one, "shop")
    keys_file(other).mkdir()
    with closing(open_state(other)) as state:
        shared = SharedKeys(other, state)
        for _ in range(3):
            shared.follow()
        assert caplog.text.count("kept the API keys of this machine") == 1
        keys_file(other).rmdir()
        shared.follow()
        assert [*read_keys(keys_file(other))] == ["shop"]


def test_a_server_whose_state_is_away_logs_that(machines: list[Config], tmp_path: Path) -> None:
    new(machines[0], "shop")
    with closing(open_state(machines[1])) as state:
        (tmp_path / "state").rename(tmp_path / "away")
        with pytest.raises(StoreUnavailable):
            SharedKeys(machines[1], state).follow()


def test_without_the_publishers_key_nothing_is_changed(machines: list[Config]) -> None:
    one, _ = machines
    one.path(one[TrustSection].publisher_key).unlink()
    with pytest.raises(HeadwayError, match="publisher"):
        new(one, "shop")
    assert not keys_file(one).exists()


def test_one_machine_at_a_time_changes_keys(machines: list[Config]) -> None:
    one, other = machines
    with keys_of_all_servers(one, change=True), pytest.raises(LeaseHeld, match="api keys of flights"):
        new(other, "desk")


def test_a_project_without_a_shared_state_uses_its_file_alone(tmp_path: Path) -> None:
    with keys_of_all_servers(Config(folder=str(tmp_path)), change=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lists_of_a_key_that_is_not_trusted_any_more_do_not_count(machines: list[Config]) -> None:
    one, other = machines
    new(one, "shop")
    other.path(other[TrustSection].trusted_keys).write_text("")
    with closing(open_state(other)) as state:
        SharedKeys(other, state).fetch()
    assert not keys_file(other).exists()
