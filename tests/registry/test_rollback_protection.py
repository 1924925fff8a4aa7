"""A restored old store or release is rejected by a reader who saw a later one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from releases import BACK, FILES, register, release

from headway.core.errors import ConfigError, Refused
from headway.core.record import digest_of
from headway.registry import chain
from headway.registry.model_registry import ModelRegistry


def copy_store(folder: Path, *, to: str) -> None:
    shutil.copytree(folder / "store", folder / to)


def put_back(folder: Path, copy: str) -> None:
    shutil.rmtree(folder / "store")
    (folder / copy).rename(folder / "store")


def replayed(act: Callable[[], object], message: str) -> None:
    with pytest.raises(Refused, match=f"replayed pointer flights@live: {message}"):
        act()


def test_a_restored_old_store_is_rejected_as_replayed(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    copy_store(tmp_path, to="old")
    ours.point("flights@live", two[0], BACK)
    ours.state.close()
    put_back(tmp_path, "old")
    again, message = register(tmp_path), "move 3 was seen here before, and this store ends at move 2"
    replayed(lambda: again.resolve("flights@live"), message)
    replayed(again.history, message)
    replayed(lambda: again.point("flights@live", two[0], BACK), message)


def test_an_empty_store_in_its_place_is_rejected_as_replayed(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    replayed(lambda: register(tmp_path, store="new").resolve("flights@live"), "move 2 was seen here before, and .* 0")


def test_another_update_of_the_same_number_is_rejected_as_replayed(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    copy_store(tmp_path, to="fork")
    memory = chain.last_seen_file(ours.trusted_keys).read_bytes()
    ours.point("flights@live", two[0], BACK)
    ours.state.close()
    newer = chain.last_seen_file(ours.trusted_keys).read_bytes()
    put_back(tmp_path, "fork")
    chain.last_seen_file(ours.trusted_keys).write_bytes(memory)
    fork = register(tmp_path)
    fork.point("flights@live", two[1], BACK)
    chain.last_seen_file(ours.trusted_keys).write_bytes(newer)
    replayed(lambda: fork.resolve("flights@live"), "move 3 was seen here before, and there is another move")


def test_a_loader_saves_the_last_seen_update_and_needs_no_private_key(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    chain.last_seen_file(ours.trusted_keys).unlink()
    ours.publisher_key.unlink()
    ours.resolve("flights@live")
    met = chain.load_last_seen(chain.last_seen_file(ours.trusted_keys))
    assert met == {"flights@live": chain.LastSeen(number=2, digest=digest_of(ours.state.updates()[-1].content))}
    assert not ours.publisher_key.exists()


def test_a_release_is_loaded_by_its_digest_whatever_was_seen(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    assert ours.resolve(f"flights@{two[0][7:15]}").release.made_at == "May"


def test_without_a_publisher_key_nothing_is_published_or_updated(ours: ModelRegistry, two: tuple[str, str]) -> None:
    ours.publisher_key.unlink()
    for act in (lambda: ours.publish(release(), FILES), lambda: ours.point("flights@live", two[0], BACK)):
        with pytest.raises(ConfigError, match="no publisher key"):
            act()
