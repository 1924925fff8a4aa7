"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import StoreError
from headway.store import atomic


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    atomic.write(path, b"old")
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "full").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write 'folder'") as caught:
        atomic.write(path, b"content")
    assert caught.value.where == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write 'below'"):
        atomic.write(tmp_path / "file" / "folder" / "below", b"content")


def test_a_new_file_does_not_replace_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        atomic.create(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"theirs"
