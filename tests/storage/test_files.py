"""Blobs as files: what goes beyond the contract of blob stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import StoreError
from headway.core.record import digest_of
from headway.storage.blobs.files import Files


def the_file(folder: Path) -> Path:
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    return path


def test_a_blob_is_stored_under_its_digest_with_no_other_file(tmp_path: Path) -> None:
    digest = Files(tmp_path).put(b"model").removeprefix("sha256:")
    assert the_file(tmp_path) == tmp_path / "sha256" / digest[:2] / digest[2:]


def test_an_altered_blob_is_refused_by_digest_and_file(tmp_path: Path) -> None:
    digest = Files(tmp_path).put(b"model")
    the_file(tmp_path).write_bytes(b"mOdel")
    with pytest.raises(
        StoreError, match=f"blob {digest} was altered: its bytes are now {digest_of(b'mOdel')}"
    ) as caught:
        Files(tmp_path).get(digest)
    assert caught.value.where == str(the_file(tmp_path))


def test_putting_the_bytes_again_repairs_an_altered_blob(tmp_path: Path) -> None:
    digest = Files(tmp_path).put(b"model")
    the_file(tmp_path).write_bytes(b"mOdel")
    Files(tmp_path).put(b"model")
    assert Files(tmp_path).get(digest) == b"model"


def test_a_missing_blob_is_refused_by_digest_and_file(tmp_path: Path) -> None:
    digest = digest_of(b"model")
    with pytest.raises(StoreError, match=f"blob {digest} cannot be read: No such file") as caught:
        Files(tmp_path).get(digest)
    assert caught.value.where.startswith(str(tmp_path / "sha256"))
