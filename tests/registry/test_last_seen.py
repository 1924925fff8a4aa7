"""What a loader remembers of pointers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headway.core.errors import StoreError
from headway.registry.chain import LastSeen, last_seen_file, load_last_seen, save_last_seen


def met(number: int) -> LastSeen:
    return LastSeen(number=number, digest=f"sha256:{number}")


def test_the_last_seen_file_is_next_to_the_trusted_keys() -> None:
    assert last_seen_file(Path("/etc/headway/trusted_keys.txt")) == Path("/etc/headway/trusted_keys.seen.json")


def test_only_a_later_update_replaces_the_last_seen_one(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    for number in (2, 3, 1):
        save_last_seen(file, "flights@live", met(number))
    save_last_seen(file, "flights@canary", met(1))
    assert load_last_seen(file) == {"flights@live": met(3), "flights@canary": met(1)}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_no_update_is_lost_when_many_save_at_once(tmp_path: Path) -> None:
    file, gate = tmp_path / "seen.json", threading.Barrier(8)

    def run(one: int) -> None:
        gate.wait()
        for number in range(1, 6):
            save_last_seen(file, f"model{one}@live", met(number))
            save_last_seen(file, "shared@live", met(10 * number + one))

    threads = [threading.Thread(target=run, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_last_seen(file) == {**{f"model{one}@live": met(5) for one in range(8)}, "shared@live": met(57)}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"a":1}', b'{"\xe4":{"number":1,"digest":""}}'])
def test_a_damaged_last_seen_file_is_not_read_as_empty(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "seen.json").write_bytes(content)
    with pytest.raises(StoreError, match="the last seen updates cannot be read") as caught:
        save_last_seen(tmp_path / "seen.json", "flights@live", met(1))
    assert caught.value.where == str(tmp_path / "seen.json")
    assert (tmp_path / "seen.json").read_bytes() == content


def test_the_folder_of_the_last_seen_updates_is_created_or_its_absence_is_an_error(tmp_path: Path) -> None:
    save_last_seen(tmp_path / "machine/seen.json", "flights@live", met(1))
    assert load_last_seen(tmp_path / "machine/seen.json") == {"flights@live": met(1)}
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the last seen updates cannot be saved: File exists") as caught:
        save_last_seen(tmp_path / "file/seen.json", "flights@live", met(1))
    assert caught.value.hint == "[trust] last_seen names another file"
