"""A fleet over a real web server: what devices load, and every attack that they refuse by name."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.deployment.device_fleets import Clock, Fleet, go_live, numbered, publisher, running_fleet

from headway.core.errors import ConfigError, EngineError, StoreError
from headway.core.fleet import FleetPointer, FleetTimestamp
from headway.core.record import digest_of, read, write
from headway.deployment.fleet.device import MAX_TIMESTAMP
from headway.deployment.fleet.publish import publish_fleet, renew_timestamp, timestamp_key_file
from headway.registry import fleet as files
from headway.registry.sign import create_publisher, load_publisher, load_timestamp_key

TIMESTAMP = files.TIMESTAMP


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path) as found:
        yield found


def live(fleet: Fleet) -> str:
    return fleet.project.registry.resolve("flights@live").digest


# What a device loads


def test_a_device_loads_the_release_that_was_published(fleet: Fleet) -> None:
    device = fleet.device()
    result = device.poll()
    assert (result.release, result.changed, result.reason) == (live(fleet), True, "")
    assert device.registry.resolve(f"flights@{result.release}").digest == live(fleet)


def test_a_poll_of_what_did_not_change_is_one_request_without_a_body(fleet: Fleet) -> None:
    fleet.device().poll()
    fleet.site.requests.clear()
    assert fleet.device().poll() == (live(fleet), False, "", "")
    assert fleet.site.requests == [(TIMESTAMP, 304)]


def test_a_renewed_timestamp_loads_neither_pointer_nor_release_again(fleet: Fleet) -> None:
    fleet.device().poll()
    fleet.clock.pass_time(hours=1)
    renew_timestamp(fleet.project, fleet.out)
    fleet.site.requests.clear()
    assert fleet.device().poll().reason == ""
    assert fleet.site.requests == [(TIMESTAMP, 200)]


def test_a_rollback_reaches_a_device_at_its_next_poll(fleet: Fleet) -> None:
    first = live(fleet)
    second = go_live(fleet.project, numbered(2))
    fleet.publish()
    assert fleet.device().poll().release == second
    fleet.project.registry.roll_back("flights@live", who="bob", why="it was slower")
    assert fleet.publish().pointer.number == 3
    assert fleet.device().poll() == (first, True, "", "")


def test_publishing_what_is_published_renews_only_the_timestamp(fleet: Fleet) -> None:
    again = fleet.publish()
    assert (again.is_new, again.pointer.number) == (False, 1)
    assert len(list((fleet.out / "pointers").iterdir())) == 1


# Shares of devices


def test_a_share_of_devices_loads_a_staged_release_and_grows(fleet: Fleet) -> None:
    first = live(fleet)
    second = go_live(fleet.project, numbered(2))
    names = [f"pump-{number}" for number in range(200)]
    served: list[set[str]] = []
    for share in (0.1, 0.5, 1.0):
        pointer = fleet.publish(share=share).pointer
        served.append({name for name in names if files.release_for(pointer, name).digest == second})
    assert served[0] < served[1] < served[2] == set(names)
    assert 8 <= len(served[0]) <= 36
    assert first != second


def test_devices_of_a_share_serve_the_staged_release_and_others_the_last(fleet: Fleet) -> None:
    first, second = live(fleet), go_live(fleet.project, numbered(2))
    pointer = fleet.publish(share=0.5).pointer
    names = [f"pump-{number}" for number in range(8)]
    served = {name: fleet.device(name).poll().release for name in names}
    assert served == {name: files.release_for(pointer, name).digest for name in names}
    assert set(served.values()) == {first, second}


def test_a_share_stays_until_another_is_given(fleet: Fleet) -> None:
    go_live(fleet.project, numbered(2))
    fleet.publish(share=0.25)
    again = fleet.publish()
    assert (again.is_new, again.pointer.share) == (False, 0.25)


def test_devices_out_of_the_share_stay_at_the_release_that_all_had(fleet: Fleet) -> None:
    first = live(fleet)
    go_live(fleet.project, numbered(2))
    fleet.publish(share=0.1)
    third = go_live(fleet.project, numbered(3))
    pointer = fleet.publish(share=0.1).pointer
    assert (pointer.release.digest, pointer.staged and pointer.staged.digest) == (first, third)


def test_a_rollback_ends_a_staged_release(fleet: Fleet) -> None:
    first = live(fleet)
    go_live(fleet.project, numbered(2))
    fleet.publish(share=0.5)
    fleet.project.registry.roll_back("flights@live", who="bob", why="it was slower")
    pointer = fleet.publish().pointer
    assert (pointer.release.digest, pointer.staged, pointer.share) == (first, None, 0.0)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_is_above_0_and_at_most_1(fleet: Fleet, share: float) -> None:
    with pytest.raises(ConfigError, match="not a share of devices"):
        fleet.publish(share=share)


def test_the_first_release_goes_to_all_devices(tmp_path: Path) -> None:
    project = publisher(tmp_path / "p", Clock())
    go_live(project, numbered(1))
    with pytest.raises(ConfigError, match="no other one for the other devices"):
        publish_fleet(project, tmp_path / "out", who="ann", share=0.1)
    project.state.close()


# Attacks


def timestamp(fleet: Fleet) -> FleetTimestamp:
    return read(FleetTimestamp, (fleet.out / TIMESTAMP).read_bytes().split(b"\n")[0])


def pointer(fleet: Fleet) -> FleetPointer:
    return read(FleetPointer, pointer_file(fleet).read_bytes().split(b"\n")[0])


def pointer_file(fleet: Fleet) -> Path:
    return fleet.out / files.pointer_path(timestamp(fleet).digest)


def sign_again(fleet: Fleet, *, of_pointer: dict[str, object] | None = None, key: object = None, **of: object) -> None:
    """Sign the pointer and the timestamp again, with other fields: what a holder of the keys can do."""
    keys = fleet.project.registry.publisher_key, timestamp_key_file(fleet.project)
    changed = write(replace(pointer(fleet), **(of_pointer or {})))
    content = files.join_signed(load_publisher(keys[0]).sign(changed))
    digest = digest_of(content)
    (fleet.out / files.pointer_path(digest)).write_bytes(content)
    fields = {"number": timestamp(fleet).number + 1, "digest": digest, "size_bytes": len(content), **of}
    signed = (key or load_timestamp_key(keys[1])).sign(write(replace(timestamp(fleet), **fields)))
    (fleet.out / TIMESTAMP).write_bytes(files.join_signed(signed))


def swap(fleet: Fleet, part: str, content: bytes | None) -> None:
    fleet.site.changed[part] = lambda _: content


def replay_timestamp(fleet: Fleet) -> None:
    swap(fleet, TIMESTAMP, (fleet.out / TIMESTAMP).read_bytes())
    fleet.clock.pass_time(seconds=5)
    old = fleet.site.changed.pop(TIMESTAMP)
    renew_timestamp(fleet.project, fleet.out)
    assert fleet.device().poll().reason == ""
    fleet.site.changed[TIMESTAMP] = old


def replay_pointer(fleet: Fleet) -> None:
    """An old pointer under a new timestamp: the thief of the timestamp's key can sign one."""
    old, old_pointer = timestamp(fleet), pointer_file(fleet).read_bytes()
    go_live(fleet.project, numbered(2))
    fleet.publish()
    fleet.device().poll()
    stolen = load_timestamp_key(timestamp_key_file(fleet.project))
    number = timestamp(fleet).number + 1
    replayed = replace(old, number=number, expires=timestamp(fleet).expires)
    assert digest_of(old_pointer) == old.digest
    (fleet.out / TIMESTAMP).write_bytes(files.join_signed(stolen.sign(write(replayed))))


def fork_pointer(fleet: Fleet) -> None:
    sign_again(fleet, of_pointer={"why": "another one of the same number"})


def fork_timestamp(fleet: Fleet) -> None:
    sign_again(fleet, number=timestamp(fleet).number, expires="2026-11-30T11:00:00+00:00")


def freeze(fleet: Fleet) -> None:
    fleet.clock.pass_time(days=2)


def freeze_new(fleet: Fleet) -> None:
    sign_again(fleet, expires="2026-11-29T12:00:00+00:00")


def old_key(fleet: Fleet) -> None:
    """The thief of a key whose time is over gives a timestamp any dates."""
    fleet.clock.pass_time(days=31)
    sign_again(fleet, expires="2036-11-29T12:00:00+00:00")


def set_clock_back(fleet: Fleet) -> None:
    sign_again(fleet, at="2026-11-30T12:00:00+00:00")


def mix_pointer(fleet: Fleet) -> None:
    two_releases(fleet)
    content = pointer_file(fleet).read_bytes()
    swap(fleet, "pointers/", content[:-5] + b"0000\n")


def two_releases(fleet: Fleet) -> tuple[str, str]:
    first, second = live(fleet), go_live(fleet.project, numbered(2))
    fleet.publish()
    return first, second


def mix_release(fleet: Fleet) -> None:
    """The files of an old, signed release in the folder of the new one."""
    first, second = two_releases(fleet)
    for name in ("release.json", "release.sig"):
        swap(fleet, files.release_path(second, name), (fleet.out / files.release_path(first, name)).read_bytes())


def mix_signature(fleet: Fleet) -> None:
    first, second = two_releases(fleet)
    path = files.release_path(first, "release.sig")
    swap(fleet, files.release_path(second, "release.sig"), (fleet.out / path).read_bytes())


def mix_model(fleet: Fleet) -> None:
    _, second = two_releases(fleet)
    swap(fleet, files.release_path(second, "model.echo"), b"ohce")


def mix_described(part: str) -> Callable[[Fleet], None]:
    def attack(fleet: Fleet) -> None:
        two_releases(fleet)
        other = replace(pointer(fleet).release, **{part: digest_of(b"of another release")})
        sign_again(fleet, of_pointer={"release": other, "number": 3})

    return attack


def mix_without_sizes(fleet: Fleet) -> None:
    two_releases(fleet)
    sizes = {name: size for name, size in pointer(fleet).release.sizes.items() if name != "release.sig"}
    sign_again(fleet, of_pointer={"release": replace(pointer(fleet).release, sizes=sizes), "number": 3})


def cut(path: Callable[[Fleet], str], keep: Callable[[bytes], bytes]) -> Callable[[Fleet], None]:
    def attack(fleet: Fleet) -> None:
        two_releases(fleet)
        fleet.site.changed[path(fleet)] = keep

    return attack


def cut_connection(fleet: Fleet) -> None:
    two_releases(fleet)
    fleet.site.cut.add(TIMESTAMP)


def sign_with_other_publisher(fleet: Fleet) -> None:
    other = create_publisher(fleet.devices / "mallory.pem")
    two_releases(fleet)
    content = files.join_signed(other.sign(write(pointer(fleet))))
    (fleet.out / files.pointer_path(digest_of(content))).write_bytes(content)
    stolen = load_timestamp_key(timestamp_key_file(fleet.project))
    changed = replace(timestamp(fleet), number=10**15, digest=digest_of(content), size_bytes=len(content))
    (fleet.out / TIMESTAMP).write_bytes(files.join_signed(stolen.sign(write(changed))))


def sign_timestamp_with_other_key(fleet: Fleet) -> None:
    two_releases(fleet)
    sign_again(fleet, key=create_publisher(fleet.devices / "mallory.pem"))


def sign_timestamp_with_publisher_key(fleet: Fleet) -> None:
    two_releases(fleet)
    sign_again(fleet, key=load_publisher(fleet.project.registry.publisher_key))


def sign_pointer_with_timestamp_key(fleet: Fleet) -> None:
    two_releases(fleet)
    stolen = load_timestamp_key(timestamp_key_file(fleet.project))
    content = files.join_signed(stolen.sign(write(replace(pointer(fleet), number=9))))
    (fleet.out / files.pointer_path(digest_of(content))).write_bytes(content)
    changed = replace(timestamp(fleet), number=10**15, digest=digest_of(content), size_bytes=len(content))
    (fleet.out / TIMESTAMP).write_bytes(files.join_signed(stolen.sign(write(changed))))


def sign_release_with_other_key(fleet: Fleet) -> None:
    _, second = two_releases(fleet)
    bundle = fleet.project.registry.resolve(f"flights@{second}")
    other = create_publisher(fleet.devices / "mallory.pem").sign(bundle.signed.content)
    swap(fleet, files.release_path(second, "release.sig"), other.signature)


def distrust(fleet: Fleet) -> None:
    """The publisher's key is not trusted any more, and the server answers that nothing changed."""
    trusted = fleet.device().registry.trusted_keys
    trusted.write_text(create_publisher(fleet.devices / "new.pem").key)


def change_byte(path: Callable[[Fleet], str]) -> Callable[[Fleet], None]:
    def attack(fleet: Fleet) -> None:
        two_releases(fleet)
        fleet.site.changed[path(fleet)] = lambda body: body.replace(b'"who":"ann"', b'"who":"bob"').replace(
            b'"number":', b'"number":1', 1
        )

    return attack


def follow_other(fleet: Fleet) -> None:
    """The folder of another model of the same publisher."""
    sign_again(fleet, of_pointer={"name": "hotels", "number": 2}, name="hotels")


def follow_other_pointer(fleet: Fleet) -> None:
    sign_again(fleet, of_pointer={"pointer": "canary", "number": 2})


def flood(path: str, size: int) -> Callable[[Fleet], None]:
    def attack(fleet: Fleet) -> None:
        two_releases(fleet)
        fleet.site.changed[path] = lambda body: body + b" " * size

    return attack


def announce_large_pointer(fleet: Fleet) -> None:
    sign_again(fleet, digest=digest_of(b"of a large file"), size_bytes=10**9)


def announce_large_release(fleet: Fleet) -> None:
    two_releases(fleet)
    large = replace(pointer(fleet).release, sizes={**pointer(fleet).release.sizes, "model.echo": 1 << 40})
    sign_again(fleet, of_pointer={"release": large, "number": 3})


def the_timestamp(_: Fleet) -> str:
    return TIMESTAMP


def the_pointer(_: Fleet) -> str:
    return "pointers/"


def the_model(_: Fleet) -> str:
    return "model.echo"


ATTACKS: dict[str, tuple[str, Callable[[Fleet], None]]] = {
    "an older timestamp": ("replay", replay_timestamp),
    "an older pointer under a new timestamp": ("replay", replay_pointer),
    "another pointer of the same number": ("replay", fork_pointer),
    "another timestamp of the same number": ("replay", fork_timestamp),
    "nothing new for longer than the timestamp is valid": ("expired", freeze),
    "a new timestamp that has expired": ("expired", freeze_new),
    "a timestamp's key after its time": ("expired", old_key),
    "a timestamp of tomorrow": ("clock", set_clock_back),
    "another pointer in place of the named one": ("mixed", mix_pointer),
    "an old release in place of the named one": ("mixed", mix_release),
    "the signature of another release": ("mixed", mix_signature),
    "another model in the named release": ("mixed", mix_model),
    "other evidence than the release has": ("mixed", mix_described("evidence")),
    "another policy than the release has": ("mixed", mix_described("policy")),
    "a release without the size of a file": ("mixed", mix_without_sizes),
    "an empty timestamp": ("truncated", cut(the_timestamp, lambda _: b"")),
    "a timestamp without its signature": ("truncated", cut(the_timestamp, lambda body: body.split(b"\n")[0])),
    "half a pointer": ("truncated", cut(the_pointer, lambda body: body[: len(body) // 2])),
    "half a model": ("truncated", cut(the_model, lambda body: body[:2])),
    "a connection that ends early": ("truncated", cut_connection),
    "a pointer of another publisher": ("wrong key", sign_with_other_publisher),
    "a timestamp of another key": ("wrong key", sign_timestamp_with_other_key),
    "a timestamp of the publisher's key": ("wrong key", sign_timestamp_with_publisher_key),
    "a pointer of the timestamp's key": ("wrong key", sign_pointer_with_timestamp_key),
    "a release of another publisher": ("wrong key", sign_release_with_other_key),
    "a publisher that is trusted no more": ("wrong key", distrust),
    "a changed timestamp": ("changed", change_byte(the_timestamp)),
    "the fleet of another model": ("other pointer", follow_other),
    "another pointer of the model": ("other pointer", follow_other_pointer),
    "a timestamp with more lines": ("unreadable", cut(the_timestamp, lambda body: body + b"more\n")),
    "a timestamp that is not a record": ("unreadable", cut(the_timestamp, lambda _: b"{}\n{}\n")),
    "an endless timestamp": ("oversized", flood(TIMESTAMP, MAX_TIMESTAMP)),
    "a pointer larger than its timestamp says": ("oversized", flood("pointers/", 1)),
    "a model larger than its pointer says": ("oversized", flood("model.echo", 1)),
    "a timestamp of a huge pointer": ("oversized", announce_large_pointer),
    "a pointer to a huge release": ("oversized", announce_large_release),
    "a missing pointer": ("unreachable", cut(the_pointer, lambda _: None)),
}


@pytest.mark.parametrize(("reason", "attack"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_by_name_and_ends_with_the_attacker(
    fleet: Fleet, reason: str, attack: Callable[[Fleet], None]
) -> None:
    first = fleet.device().poll().release
    attack(fleet)
    served = fleet.device().state().release
    result = fleet.device().poll()
    assert (result.reason, result.changed, result.release) == (reason, False, served), result.message
    assert served == first or attack is replay_pointer

    fleet.site.changed.clear()
    fleet.site.cut.clear()
    fleet.device().registry.trusted_keys.write_bytes(fleet.project.registry.trusted_keys.read_bytes())
    fleet.clock.pass_time(hours=1)
    last = go_live(fleet.project, numbered(7))
    for _ in range(2):  # the attacker may have used a number of pointers, and the key of timestamps
        fleet.publish(new_key=True)
    assert fleet.device().poll().release == last


def test_a_new_key_ends_the_numbers_that_the_thief_of_the_old_one_used_up(fleet: Fleet) -> None:
    sign_again(fleet, number=2**62)
    assert fleet.device().poll().reason == ""
    (fleet.out / TIMESTAMP).unlink()
    second = go_live(fleet.project, numbered(2))
    fleet.publish()
    assert fleet.device().poll().reason == "replay"
    fleet.publish(new_key=True)
    assert fleet.device().poll().release == second


def test_a_clock_that_is_set_back_revives_no_timestamp(fleet: Fleet) -> None:
    fleet.device().poll()
    old = (fleet.out / TIMESTAMP).read_bytes()
    fleet.clock.pass_time(days=2)
    renew_timestamp(fleet.project, fleet.out, valid=timedelta(seconds=1))
    assert fleet.device().poll().reason == ""
    fleet.clock.pass_time(days=-2)
    assert fleet.device().poll().reason == "clock"
    (fleet.out / TIMESTAMP).write_bytes(old)
    assert fleet.device().poll().reason == "replay"


def test_an_expired_pointer_loads_nothing_new_and_its_release_stays(fleet: Fleet) -> None:
    device = fleet.device()
    first = device.poll().release
    go_live(fleet.project, numbered(2))
    fleet.publish()
    fleet.clock.pass_time(days=2)
    result = device.poll()
    assert (result.release, result.reason) == (first, "expired")
    assert device.registry.resolve(f"flights@{first}").digest == first


def test_a_release_that_fails_on_a_device_is_refused_and_tried_again(fleet: Fleet) -> None:
    first = fleet.device().poll().release
    second = go_live(fleet.project, numbered(2))
    fleet.publish()

    def refuse(_: object) -> None:
        raise EngineError("no such instruction")

    result = fleet.device(accept=refuse).poll()
    assert (result.release, result.reason) == (first, "self-test")
    assert "no such instruction" in result.message
    assert fleet.device().poll() == (second, True, "", "")


def test_a_release_that_failed_half_way_is_loaded_at_the_next_poll(fleet: Fleet) -> None:
    first = fleet.device().poll().release
    second = go_live(fleet.project, numbered(2))
    fleet.publish()
    fleet.site.changed["model.echo"] = lambda _: None
    assert fleet.device().poll()[:3] == (first, False, "unreachable")
    fleet.site.changed.clear()
    assert fleet.device().poll()[:3] == (second, True, "")
    assert fleet.site.requests[-4][1] == 304


def test_two_agents_of_one_device_poll_one_after_the_other(fleet: Fleet) -> None:
    second = threading.Thread(target=fleet.device().poll)

    def wait(body: bytes) -> bytes:
        if not second.ident:
            second.start()
            second.join(0.1)
        return body

    fleet.site.changed["model.echo"] = wait
    assert fleet.device().poll().release == live(fleet)
    second.join()
    assert sum("model.echo" in path for path, _ in fleet.site.requests) == 1
    assert fleet.site.requests[-1] == (TIMESTAMP, 304)


def test_a_device_without_a_network_keeps_its_release(fleet: Fleet) -> None:
    first = fleet.device().poll().release
    away = fleet.device(url="http://127.0.0.1:1")
    assert away.poll()[:3] == (first, False, "unreachable")


def test_no_redirect_is_followed(fleet: Fleet) -> None:
    fleet.site.redirect = f"{fleet.site.url}/elsewhere"
    assert "302" in fleet.device().poll().message


def test_a_device_follows_a_publisher_whose_key_was_replaced(fleet: Fleet) -> None:
    fleet.device().poll()
    registry = fleet.project.registry
    registry.publisher_key.unlink()
    line = create_publisher(registry.publisher_key).key
    for trusted in (registry.trusted_keys, fleet.device().registry.trusted_keys):
        trusted.write_text(trusted.read_text() + line + "\n")
    again = fleet.publish()
    assert not again.is_new
    assert fleet.device().poll().reason == ""


def test_a_device_reads_only_over_http(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match="is not a URL of HTTP"):
        fleet.device(url="file:///etc")


# The publisher


def test_only_the_key_that_a_pointer_names_renews_its_timestamp(fleet: Fleet) -> None:
    timestamp_key_file(fleet.project).unlink()
    create_publisher(timestamp_key_file(fleet.project))
    with pytest.raises(StoreError, match="the pointer accepts timestamps of"):
        renew_timestamp(fleet.project, fleet.out)


def test_a_key_renews_nothing_after_its_time(fleet: Fleet) -> None:
    fleet.clock.pass_time(days=31)
    with pytest.raises(StoreError, match="until 2026-12-29"):
        renew_timestamp(fleet.project, fleet.out)


def test_a_folder_without_a_fleet_has_nothing_to_renew(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no fleet is published here"):
        renew_timestamp(fleet.project, tmp_path / "empty")


def test_publishing_replaces_a_key_whose_time_is_nearly_over(fleet: Fleet) -> None:
    before = pointer(fleet)
    fleet.clock.pass_time(days=25)
    after = fleet.publish().pointer
    assert (after.number, after.key_expires[:10]) == (2, "2027-01-23")
    assert after.timestamp_key != before.timestamp_key


def test_a_base_that_the_pointer_never_had_is_refused(fleet: Fleet) -> None:
    """A person who can write to the store must not choose the release of the other devices."""
    other = fleet.project.registry.publish(numbered(9), {"model.echo": b"echo"})
    last = pointer(fleet)
    fleet.project.save(replace(last, release=replace(last.release, digest=other)))
    go_live(fleet.project, numbered(2))
    with pytest.raises(StoreError, match=re.escape(f"never had release {other}")):
        fleet.publish(share=0.1)


def test_two_timestamps_of_one_moment_have_two_numbers(fleet: Fleet) -> None:
    first, second = (renew_timestamp(fleet.project, fleet.out).number for _ in range(2))
    assert second == first + 1
