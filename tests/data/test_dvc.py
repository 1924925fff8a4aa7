"""Read the records of DVC, and compare files with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.dvc_folders import FLIGHTS, dvc_init, folder_pointer, lock, made, md5, pointer, write_file

from headway.core.provenance import Provenance, StageInput, TrackedData
from headway.core.record import read, write
from headway.data.dvc import tracked_files


def record_of(folder: Path, name: str = "flights.csv") -> TrackedData:
    (found,) = tracked_files([folder / name], folder)
    return found


def test_a_file_matches_its_pointer(tmp_path):
    pointer(write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS), FLIGHTS)
    digest = f"md5:{md5(FLIGHTS)}"
    assert record_of(tmp_path) == TrackedData(
        path="flights.csv", record="flights.csv.dvc", digest=digest, size_bytes=len(FLIGHTS)
    )
    assert str(record_of(tmp_path)) == f"flights.csv is {digest} by flights.csv.dvc"


@pytest.mark.parametrize(
    ("content", "message"),
    [(FLIGHTS + "x", f"it has {len(FLIGHTS) + 1} bytes, not {len(FLIGHTS)}"), (FLIGHTS.upper(), "it is md5:")],
    ids=["of another size", "of the same size"],
)
def test_a_changed_file_is_reported(tmp_path, content, message):
    pointer(write_file(tmp_path / "flights.csv", content), FLIGHTS)
    assert record_of(tmp_path).difference.startswith(message) and not record_of(tmp_path).missing


def test_a_stage_has_its_command_and_inputs(tmp_path):
    write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS)
    lock(tmp_path, made("other", name="other", path="other.csv") + made(FLIGHTS))
    found = record_of(tmp_path)

    assert (found.record, found.stage, found.command) == ("dvc.lock", "prepare", "python prepare.py --year 2013")
    parts = [("prepare.py", "code"), ("raw/flights.json", "raw")]
    assert found.inputs == tuple(StageInput(name=name, digest=f"md5:{md5(text)}") for name, text in parts)
    assert not found.difference


def test_paths_of_a_stage_are_relative_to_its_working_folder(tmp_path):
    write_file(dvc_init(tmp_path) / "data/flights.csv", FLIGHTS)
    lock(tmp_path, made(FLIGHTS, name="prepare@2013"))
    write_file(
        tmp_path / "dvc.yaml", "stages:\n  prepare:\n    foreach: [2013]\n    do:\n      wdir: data\n      cmd: x\n"
    )
    assert record_of(tmp_path, "data/flights.csv").stage == "prepare@2013"


def test_a_lock_of_the_older_form_with_a_command_of_several_lines_is_read(tmp_path):
    write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS)
    stage = f"prepare:\n  cmd:\n  - one\n  - two\n  outs:\n  - path: flights.csv\n    md5: {md5(FLIGHTS)}\n"
    write_file(tmp_path / "dvc.lock", stage)
    assert record_of(tmp_path).command == "one && two" and not record_of(tmp_path).difference


def test_hashes_of_dvc_2_ignore_line_ends(tmp_path):
    unix, dos = "a,b\n1,2\n", "a,b\r\n1,2\r\n"
    write_file(tmp_path / "t.csv", dos)
    write_file(tmp_path / "t.csv.dvc", f"outs:\n- md5: {md5(unix)}\n  size: {len(dos)}\n  path: t.csv\n")
    assert (record_of(tmp_path, "t.csv").digest, record_of(tmp_path, "t.csv").difference) == (
        f"md5-dos2unix:{md5(unix)}",
        "",
    )
    write_file(tmp_path / "t.csv", "\x00" + dos)
    assert record_of(tmp_path, "t.csv").difference == f"it is md5:{md5(chr(0) + dos)}"


def test_a_file_longer_than_a_block_is_read_in_blocks(tmp_path):
    content = "1,2\n" * 600_000
    pointer(write_file(tmp_path / "long.csv", content), content)
    assert record_of(tmp_path, "long.csv").difference == ""


def test_an_imported_file_names_the_repository_without_its_password(tmp_path):
    head = "frozen: true\ndeps:\n- path: data/flights.csv\n  repo:\n    url: https://me:secret@example.org/r\n"
    pointer(write_file(tmp_path / "flights.csv", FLIGHTS), FLIGHTS, head=f"{head}    rev_lock: 9aa04f2\n")
    [part] = record_of(tmp_path).inputs
    assert part.name.startswith("data/flights.csv of https://") and part.name.endswith("example.org/r@9aa04f2")
    assert "secret" not in part.name


FILES = {"a.csv": "a\n1\n", "deep/b.csv": "a\n2\n", "c.csv": "a\n3\n"}


@pytest.mark.parametrize("cache", [".dvc/cache/files/md5", ".dvc/cache", "elsewhere/files/md5", None])
def test_a_folder_is_compared_file_by_file_with_the_list_in_any_cache(tmp_path, cache):
    dvc_init(tmp_path)
    if cache and cache.startswith("elsewhere"):
        (tmp_path / ".dvc/config").write_text("[core]\n    remote = r\n[cache]\n    dir = ../elsewhere\n")
    digest = folder_pointer(tmp_path / "parts", FILES, cache=tmp_path / cache if cache else None)
    found = record_of(tmp_path, "parts")
    assert (found.digest, found.n_files, found.difference) == (f"md5:{digest}", 3, "")

    one = record_of(tmp_path, "parts/deep/b.csv")
    folder_record = ("parts", f"md5:{digest}")
    assert (one.path, one.digest) == (
        ("parts/deep/b.csv", f"md5:{md5('a' + chr(10) + '2' + chr(10))}") if cache else folder_record
    )
    write_file(tmp_path / "parts/deep/b.csv", "a\n9\n")
    known = "1 of its files changed: deep/b.csv" if cache else "its files differ, by the digest of their list"
    assert record_of(tmp_path, "parts").difference == known


def test_changes_of_a_folder_are_reported_by_file(tmp_path):
    dvc_init(tmp_path)
    folder_pointer(tmp_path / "parts", FILES, cache=tmp_path / ".dvc/cache/files/md5")
    (tmp_path / "parts/a.csv").unlink()
    for number in range(4):
        write_file(tmp_path / f"parts/n{number}.csv", "a\n")
    found = record_of(tmp_path, "parts")

    assert found.difference == "1 of its files missing: a.csv; 4 of its files not recorded: n0.csv, n1.csv, n2.csv ..."
    assert found.missing
    assert record_of(tmp_path, "parts/n0.csv").difference == "it is not among the files recorded"
    write_file(tmp_path / ".dvcignore", "n*\n")
    assert record_of(tmp_path, "parts").difference == "1 of its files missing: a.csv"


def test_a_list_with_another_digest_is_ignored(tmp_path):
    dvc_init(tmp_path)
    digest = folder_pointer(tmp_path / "parts", FILES, cache=tmp_path / ".dvc/cache")
    write_file(tmp_path / ".dvc/cache" / digest[:2] / digest[2:], '[{"md5": "0", "relpath": "a.csv"}]')
    assert record_of(tmp_path, "parts").difference == ""
    write_file(tmp_path / "parts/a.csv", "other")
    assert record_of(tmp_path, "parts").difference == "its files differ, by the digest of their list"


def test_files_recorded_in_the_pointer_need_no_list(tmp_path):
    rows = "".join(f"  - relpath: {name}\n    md5: {md5(text)}\n" for name, text in FILES.items())
    folder_pointer(tmp_path / "parts", FILES)
    write_file(tmp_path / "parts.dvc", f"outs:\n- path: parts\n  md5: {'0' * 32}.dir\n  hash: md5\n  files:\n{rows}")
    assert record_of(tmp_path, "parts/a.csv").difference == ""


def test_a_link_into_the_cache_is_tracked_under_its_own_path(tmp_path):
    target = write_file(dvc_init(tmp_path) / ".dvc/cache/files/md5/ab/cd", FLIGHTS)
    pointer(tmp_path / "flights.csv", FLIGHTS)
    (tmp_path / "flights.csv").symlink_to(target)
    assert record_of(tmp_path).difference == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("outs: [", "cannot read 'flights.csv.dvc' of DVC: while parsing"),
        ("- a\n", "it is not a mapping"),
        ("outs:\n- md5: 0\n", "are not in the format of DVC (KeyError('path'))"),
        ("outs: 3\n", "are not in the format of DVC"),
        ("[" * 3000, "cannot read 'flights.csv.dvc' of DVC"),
        ("outs:\n- path: flights.csv\n  etag: x1\n", "DVC recorded etag of it, which cannot be compared with a file"),
        ("outs:\n- path: flights.csv\n", "DVC recorded no hash of it, which cannot be compared with a file"),
    ],
)
def test_an_unusable_record_is_reported_with_the_reason(tmp_path, text, why):
    write_file(tmp_path / "flights.csv", FLIGHTS)
    write_file(tmp_path / "flights.csv.dvc", text)
    assert why in record_of(tmp_path).error


@pytest.mark.parametrize("stages", ["  prepare: 3\n", "  - x\n"])
def test_a_lock_with_invalid_stages_is_reported(tmp_path, stages):
    write_file(dvc_init(tmp_path) / "flights.csv", FLIGHTS)
    lock(tmp_path, stages)
    assert "cannot read 'dvc.lock'" in record_of(tmp_path).error


def test_untracked_files_are_ignored(tmp_path):
    write_file(dvc_init(tmp_path) / "mine/flights.csv", FLIGHTS)
    lock(tmp_path, made(FLIGHTS, path="other.csv"))
    assert tracked_files([tmp_path / "mine/flights.csv"], tmp_path) == ()


def test_records_above_the_root_of_the_repository_are_ignored(tmp_path):
    write_file(dvc_init(tmp_path / "mine") / "flights.csv", FLIGHTS)
    lock(tmp_path, made(FLIGHTS, path="mine/flights.csv"))
    assert tracked_files([tmp_path / "mine/flights.csv"], tmp_path / "mine") == ()


def test_a_stored_record_with_the_former_names_is_read():
    tracked = TrackedData(
        path="a", record="a.dvc", inputs=(StageInput(name="raw"),), difference="it is md5:1", missing=True
    )
    version = Provenance(period="test", digest="", n_rows=1, columns={}, rows="", form=1, tracked=(tracked,))
    content = write(version).replace(b'"version":2', b'"version":1')
    for old, new in ((b"made_from", b"inputs"), (b"unlike", b"difference"), (b"unread", b"error")):
        content = content.replace(b'"%s":' % new, b'"%s":' % old)
    content = content.replace(b'"missing":true', b'"gone":true')
    assert b"unlike" in content and read(Provenance, content) == version
