"""The first release on a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.registry.sign import KeySetup, create_publisher, init_keys, load_publisher, load_trusted


def test_a_fresh_machine_gets_a_key_and_trusts_it(tmp_path: Path) -> None:
    pem, trusted = tmp_path / "home" / "publisher.pem", tmp_path / "project" / "trusted_keys.txt"
    done = init_keys(pem, trusted, comment="ann@laptop")
    assert done == KeySetup(key=load_publisher(pem).key, created=True, pinned=True)
    assert trusted.read_text(encoding="utf-8") == f"{done.key} ann@laptop\n"


def test_a_second_setup_changes_nothing(tmp_path: Path) -> None:
    first = init_keys(tmp_path / "publisher.pem", tmp_path / "trusted_keys.txt", comment="ann")
    again = init_keys(tmp_path / "publisher.pem", tmp_path / "trusted_keys.txt", comment="ann")
    assert again == KeySetup(key=first.key, created=False, pinned=False)


def test_a_key_is_added_to_a_list_of_comments_on_its_own_line(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted_keys.txt"
    trusted.write_text("# who may publish", encoding="utf-8")
    done = init_keys(tmp_path / "publisher.pem", trusted, comment="ann")
    assert load_trusted(trusted).keys == {done.key: "ann"}


def test_a_list_that_trusts_other_keys_is_not_extended_but_the_hint_gives_the_line(tmp_path: Path) -> None:
    trusted = tmp_path / "trusted_keys.txt"
    others = f"{create_publisher(tmp_path / 'others.pem').key} others\n"
    trusted.write_text(others, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not trusted here") as caught:
        init_keys(tmp_path / "publisher.pem", trusted, comment="ann")
    assert caught.value.hint.endswith(f"{load_publisher(tmp_path / 'publisher.pem').key} ann")
    assert trusted.read_text(encoding="utf-8") == others


def test_an_unreadable_list_is_reported(tmp_path: Path) -> None:
    (tmp_path / "trust").write_bytes(b"")
    with pytest.raises(ConfigError, match="the trusted keys cannot be read"):
        init_keys(tmp_path / "publisher.pem", tmp_path / "trust" / "trusted_keys.txt", comment="ann")


def test_a_list_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "trust").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="cannot pin the publisher key"):
        init_keys(tmp_path / "publisher.pem", tmp_path / "trust" / "trusted_keys.txt", comment="ann")
