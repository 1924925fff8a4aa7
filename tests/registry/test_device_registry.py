"""The registry of a device: what it serves is what its agent accepted last."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from releases import FILES, passed, register, release

from headway.core import config
from headway.core.contracts import Signed
from headway.core.errors import StoreError
from headway.core.fleet import DeviceState, FleetPointer, PollRefused
from headway.registry import fleet
from headway.registry.fleet import DeviceRegistry
from headway.registry.model_registry import ModelRegistry


@pytest.fixture
def device(tmp_path: Path, ours: ModelRegistry) -> DeviceRegistry:
    """A device that trusts the keys of the register, and has one release on its disk."""
    folder = tmp_path / "device"
    folder.mkdir()
    (folder / "headway.toml").write_text('[project]\nname = "flights"\n')
    (folder / "trusted_keys.txt").write_bytes(ours.trusted_keys.read_bytes())
    return DeviceRegistry.of_device(config.load(folder, environment={}))


def accept(device: DeviceRegistry, ours: ModelRegistry, made_at: str) -> str:
    """Copy a release to the device, and write that it is accepted."""
    digest = ours.publish(release(made_at=made_at), FILES)
    device.add(ours.folder / "flights" / digest.removeprefix("sha256:"))
    fleet.save_device(device.file, DeviceState(name="flights", pointer="live", release=digest))
    return digest


def test_a_device_serves_the_release_that_it_accepted_last(device: DeviceRegistry, ours: ModelRegistry) -> None:
    with closing(device.state):
        first = accept(device, ours, "May")
        before = device.state.last("flights", "live")
        second = accept(device, ours, "June")
        assert device.resolve("flights@live").digest == second
        assert device.resolve(f"flights@{first}").digest == first
        assert device.state.last("flights", "live") != before
        assert device.head("flights@canary") is None


def test_a_device_without_a_release_says_how_to_get_one(device: DeviceRegistry) -> None:
    with closing(device.state), pytest.raises(StoreError, match="no release of flights@live yet"):
        assert device.state.last("flights", "live") is None
        assert device.state.latest("rollout", name="flights") is None
        device.resolve("flights@live")


def test_a_device_follows_one_pointer(device: DeviceRegistry, ours: ModelRegistry) -> None:
    accept(device, ours, "May")
    with closing(device.state), pytest.raises(StoreError, match="follows flights@live, not hotels@live"):
        device.resolve("hotels@live")


def test_a_state_that_cannot_be_read_is_named(device: DeviceRegistry) -> None:
    device.file.mkdir()
    with closing(device.state), pytest.raises(StoreError, match="state of the device cannot be read"):
        device.resolve("flights@live")


def test_a_device_whose_state_is_locked_keeps_it(device: DeviceRegistry) -> None:
    with closing(device.state), fleet.lock_device(device.file):
        assert fleet.load_device(device.file, "flights@live").release == ""


def test_a_published_file_is_found_by_its_digest_and_splits_as_it_was_joined() -> None:
    signed = Signed(content=b"{}", signature=b"[]")
    assert fleet.split_signed(fleet.join_signed(signed), where="here") == signed
    assert fleet.pointer_path("sha256:ab") == "pointers/ab.jsonl"
    assert fleet.release_path("sha256:ab", "release.json") == "releases/ab/release.json"


def test_a_state_that_cannot_be_locked_is_named(device: DeviceRegistry) -> None:
    device.file.with_suffix(".lock").mkdir()
    with closing(device.state), pytest.raises(StoreError, match="state of the device cannot be written"):  # noqa: SIM117
        with fleet.lock_device(device.file):
            pass


def test_a_device_keeps_its_state_where_its_last_updates_are(tmp_path: Path) -> None:
    ours = register(tmp_path)
    assert fleet.device_file(ours) == tmp_path / "trust" / "trusted_keys.seen.device.json"


def test_a_share_of_devices_serves_what_is_staged(ours: ModelRegistry) -> None:
    digests = [ours.publish(release(made_at=when), FILES) for when in ("May", "June")]
    for digest in digests:
        ours.point("flights@live", digest, passed())
    first, second = (fleet.fleet_release(ours.resolve(f"flights@{digest}")) for digest in digests)
    plain = FleetPointer(
        name="flights", pointer="live", number=1, at="", who="", why="", release=first, timestamp_key="", key_expires=""
    )
    names = [f"pump-{number}" for number in range(2_000)]
    assert {fleet.release_for(plain, name).digest for name in names} == {digests[0]}
    staged = replace(plain, staged=second, share=0.25, salt="a release")
    count = sum(fleet.release_for(staged, name) == second for name in names)
    assert 420 <= count <= 580


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"{}", "truncated"),
        (b"{}\n{}", "truncated"),
        (b"1\n2\n3", "unreadable"),
        (b"1\n2\n\n", "unreadable"),
    ],
)
def test_a_signed_file_has_two_lines(content: bytes, reason: str) -> None:
    with pytest.raises(PollRefused) as refused:
        fleet.split_signed(content, where="here")
    assert refused.value.reason == reason


@pytest.mark.parametrize(("url", "kind"), [("", ModelRegistry), ("https://fleet.example", DeviceRegistry)])
def test_a_server_of_a_device_has_the_registry_of_a_device(tmp_path: Path, url: str, kind: type) -> None:
    (tmp_path / "headway.toml").write_text(f'[fleet]\nurl = "{url}"\n')
    found = fleet.registry_of_server(config.load(tmp_path, environment={}))
    found.state.close()
    assert type(found) is kind
