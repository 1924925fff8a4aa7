"""State in numbered files: what goes beyond the contract of state stores."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, StoreError, StoreUnavailable
from headway.core.record import digest_of, write
from headway.core.release import PointerUpdate
from headway.storage.state.file import ABANDONED_S, ADDRESS, FORMAT, NumberedFiles, _Sequence

OTHER_USER = 65534


def move(number: int, previous: str) -> Signed:
    made = PointerUpdate(
        name="f", pointer="live", number=number, release="r", previous=previous, at="t", who="a", why="b"
    )
    return Signed(content=write(made), signature=b"-----BEGIN SSH SIGNATURE-----\nU1NI\n")


FIRST = move(1, "")
SECOND = move(2, digest_of(FIRST.content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture
def state(folder: Path) -> NumberedFiles:
    opened = NumberedFiles(f"file://{folder}")
    assert opened.append(FIRST)
    opened.save("rollout", b"one", name="f")
    opened.count_evaluation("f", "sha256:a")
    return opened


def test_each_file_has_a_line_of_what_it_is_about_and_then_its_content(state: NumberedFiles, folder: Path) -> None:
    state.save("verdict", b"two\nlines", name="f@g h")
    update = b'["f","live","%d"]\n' % len(FIRST.content) + FIRST.content + FIRST.signature
    assert (folder / "updates/0000000001").read_bytes() == update
    label = b'["verdict","f@g h","%b"]\n' % digest_of(b"two\nlines").encode()
    assert (folder / "records/0000000002").read_bytes() == label + b"two\nlines"
    assert list((folder / "unfinished").iterdir()) == []


@pytest.mark.parametrize(
    "address", ["file://state", "file://nas.example/state", "file:///", "file:///state?mode=ro", "/state", "file:state"]
)
def test_an_address_without_a_folder_of_this_machine_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not the address of a folder") as caught:
        NumberedFiles(address)
    assert ADDRESS in caught.value.hint


def test_a_folder_is_named_as_in_a_url(tmp_path: Path) -> None:
    (tmp_path / "of a team").mkdir()
    NumberedFiles(f"file://localhost{tmp_path}/of%20a%20team").save("rollout", b"one", name="f")
    assert (tmp_path / "of a team/records/0000000001").is_file()


def test_a_folder_of_other_files_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files: notes\.txt"):
        NumberedFiles(f"file://{tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_system_that_is_not_mounted_is_away_and_nothing_is_created(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="the folder of the state cannot be reached") as caught:
        NumberedFiles(f"file://{tmp_path}/state")
    assert "mount" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_away_for_a_while_is_not_taken_for_an_empty_state(state: NumberedFiles, folder: Path) -> None:
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    for use in (state.last, state.updates, lambda: state.latest("rollout", name="f"), lambda: state.append(SECOND)):
        with pytest.raises(StoreUnavailable):
            use()
    elsewhere.rename(folder)
    assert state.append(SECOND)
    assert state.last() == SECOND


def test_a_state_of_a_newer_format_is_refused_with_a_hint(state: NumberedFiles, folder: Path) -> None:
    (folder / "format").write_text("99\n")
    with pytest.raises(StoreError, match=f"the state has format 99, this headway reads up to {FORMAT}") as caught:
        NumberedFiles(f"file://{folder}")
    assert caught.value.hint == "pip install --upgrade headway"


def test_a_missing_or_damaged_file_is_named(state: NumberedFiles, folder: Path) -> None:
    state.append(SECOND)
    first = folder / "updates/0000000001"
    content = first.read_bytes()
    for damage in (b"", b'["f","live"]\n', b"\xff\n", content[: content.index(b"\n") - 1]):
        first.write_bytes(damage)
        with pytest.raises(StoreError, match="missing or damaged") as caught:
            NumberedFiles(f"file://{folder}").updates()
        assert caught.value.where == str(first)
    first.unlink()
    with pytest.raises(StoreError, match="missing or damaged") as caught:
        NumberedFiles(f"file://{folder}").append(move(1, ""))
    assert caught.value.where == str(first)
    assert not first.exists()
    (folder / "format").write_text("one")
    with pytest.raises(StoreError, match="missing or damaged"):
        NumberedFiles(f"file://{folder}")


@contextmanager
def another_user() -> Iterator[None]:
    """Work as a user who owns nothing."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_user_who_may_only_read_can_read_and_gets_an_error_on_writing() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state").mkdir()
        NumberedFiles(f"file://{folder}/state").append(FIRST)
        folder.chmod(0o755)
        paths = [folder / "state", *(folder / "state").rglob("*")]
        for path in paths:
            path.chmod(0o555)
        with another_user():
            readonly = NumberedFiles(f"file://{folder}/state")
            assert readonly.updates() == [FIRST]
            with pytest.raises(StoreError, match="Permission denied") as caught:
                readonly.append(SECOND)
            assert "right to read and write" in caught.value.hint
            with pytest.raises(StoreError, match=r"lease of f\.watch cannot be taken: Permission denied"):
                readonly.lease("f.watch").__enter__()
        for path in paths:
            path.chmod(0o755)
        assert readonly.append(SECOND)


def test_a_write_that_does_not_fit_changes_nothing_and_says_so(state: NumberedFiles, folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StoreError, match="the state cannot be read or written: File too large") as caught:
            state.save("rollout", b"x" * 5000, name="f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.hint == "free space there"
    assert list((folder / "unfinished").iterdir()) == []
    assert state.records("rollout") == [b"one"]
    state.save("rollout", b"x" * 5000, name="f")
    assert state.records("rollout") == [b"one", b"x" * 5000]


def test_a_number_that_was_given_twice_to_one_file_is_its_own(tmp_path: Path) -> None:
    sequence, path = _Sequence(tmp_path / "updates"), tmp_path / "update"
    (tmp_path / "updates").mkdir()
    path.write_bytes(b'["f","live","0"]\n')
    assert [sequence.add(1, path), sequence.add(1, path)] == [True, True], "as NFS does where an answer is lost"
    (tmp_path / "other").write_bytes(path.read_bytes())
    assert not sequence.add(1, tmp_path / "other")


def test_what_killed_processes_left_unfinished_is_removed_after_an_hour(state: NumberedFiles, folder: Path) -> None:
    old, new = folder / "unfinished/old", folder / "unfinished/new"
    for path, age_s in ((old, ABANDONED_S + 60), (new, 60)):
        path.write_bytes(b"half of")
        os.utime(path, (time.time() - age_s,) * 2)
    state.save("rollout", b"two", name="f")
    assert list((folder / "unfinished").iterdir()) == [new]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_records_are_listed_in_their_order(state: NumberedFiles, folder: Path, count: int) -> None:
    digest = digest_of(b"one")
    for number in range(2, count + 1):
        with open(folder / f"records/{number:010d}", "wb") as file:
            file.write(b'["evidence","f","%d"]\n%d' % (number, number))
    assert state.latest("evidence", name="f") == b"%d" % count
    assert state.records("rollout", digest=digest) == [b"one"]
    assert [int(content) for content in state.records("evidence")] == list(range(2, count + 1))
    last = state.all_records(after=count - 2)
    assert [(saved.position, saved.content) for saved in last] == [
        (number, b"%d" % number) for number in (count - 1, count)
    ]
    state.save("evidence", b"new", name="f")
    assert NumberedFiles(f"file://{folder}").latest("evidence", name="f") == b"new"
