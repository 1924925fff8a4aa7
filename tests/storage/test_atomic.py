"""Files that are complete or absent."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.storage.stem import Say, left_aside, stem

from headway.core.errors import StoreError
from headway.storage import atomic


def test_a_file_is_replaced_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    atomic.write(path, b"old")
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_named_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "full").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write 'folder'") as caught:
        atomic.write(path, b"content")
    assert caught.value.where == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write 'below'"):
        atomic.write(tmp_path / "file" / "folder" / "below", b"content")


def test_a_new_file_does_not_replace_an_existing_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        atomic.create(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"theirs"


def hold(say: Say, folder: str) -> None:
    """Begin to write in a folder, and never end."""
    with atomic.aside(Path(folder)) as new:
        atomic.create(new / "half", b"ha")
        say("ready")
        threading.Event().wait()


def write(say: Say, folder: str) -> None:
    """Write many files while other processes do the same."""
    say("ready")
    for number in range(300):
        atomic.write(Path(folder) / f"{os.getpid()}-{number}", b"content")


@pytest.mark.slow
def test_leftovers_of_a_killed_process_are_swept_by_the_next_writer(tmp_path: Path) -> None:
    with stem("tests.storage.test_atomic:hold") as child:
        assert child.run(tmp_path, after_s=0).killed
    assert [path.name for path in tmp_path.glob(".headway-*.new/*")] == ["half"]
    atomic.write(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_unfinished_files_of_a_living_process_are_not_swept(tmp_path: Path) -> None:
    with atomic.aside(tmp_path) as new:
        atomic.create(new / "half", b"ha")
        atomic.sweep(tmp_path)
        assert (new / "half").read_bytes() == b"ha"


def test_files_of_other_programs_are_not_swept(tmp_path: Path) -> None:
    (tmp_path / ".theirs.new").mkdir()
    (tmp_path / ".headway-notes.new").write_bytes(b"a file")
    atomic.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".headway-notes.new", ".theirs.new"]


@pytest.mark.slow
def test_processes_that_write_and_sweep_in_one_folder_lose_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(stem("tests.storage.test_atomic:write")) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            ended = list(pool.map(lambda child: child.run_to_end(tmp_path), children))
    assert len(ended) == 3
    assert len(list(tmp_path.iterdir())) == 900 and not left_aside(tmp_path)
