"""A killed run resumes after its last part, and its output equals that of an uninterrupted run.

A killed run is a process of its own, ended by `kill -9` once what it has written shows how far it is.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import polars as pl
import pytest
from tests.batch.scoring import (
    LIVE,
    number_table,
    publish,
    read_table,
    refused_rows,
    score_file,
    scoring_project,
    write_table,
)
from tests.engines.boosters import text

from headway.batch.journal import lock_folder
from headway.batch.predict import predict
from headway.core import config
from headway.core.config import Config
from headway.core.errors import DataError, StoreError
from headway.core.plugins import load_engine
from headway.core.variant import Field, Signature
from headway.optimization.forest_onnx import forest_to_onnx

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MANY = 500_000  # rows: 4 parts of parquet
LONGEST_S = 300


def lines(out: Path) -> int:
    """Return the number of complete parts."""
    journal = out.with_name(f"{out.name}.parts") / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def begun(out: Path) -> bool:
    return out.with_name(f"{out.name}.parts").exists()


def joining(out: Path) -> bool:
    return any(out.with_name(f"{out.name}.parts").glob("whole*")) or out.exists()


STAGES: dict[str, Callable[[Path], bool]] = {
    "begun": begun,
    "one part": lambda out: lines(out) >= 1,
    "three parts": lambda out: lines(out) >= 3,
    "joining": joining,
    "output moved": lambda out: out.exists(),
}


def run(folder: Path, source: Path, out: Path, *, until: Callable[[Path], bool] = lambda _: False) -> int:
    """Score in a separate process, killed once `until` holds.

    Return its exit code, or minus the signal that ended it.
    """
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    command = ["predict", LIVE, str(source), str(out), "--project", str(folder), "--keep", "key"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headway.cli", *command],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        try:
            return process.wait(0.001)
        except subprocess.TimeoutExpired:
            if until(out):
                process.kill()
    process.kill()
    raise AssertionError(f"it did not end in {LONGEST_S} s")


def outcome(out: Path) -> dict[str, bytes]:
    """Return the files of a run by suffix."""
    return {path.name.removeprefix(out.stem): path.read_bytes() for path in out.parent.glob(f"{out.stem}*")}


def table_with_nulls(rows: int) -> pl.DataFrame:
    """Return a table with null rows in the first part and in a later one."""
    row = pl.int_range(rows)
    return number_table(rows).with_columns(pl.when((row % 200_000) == 17).then(None).otherwise("a").alias("a"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", [".parquet", *(pytest.param(ending, marks=pytest.mark.long) for ending in (".csv", ".arrow"))]
)
def test_a_run_killed_repeatedly_equals_an_uninterrupted_run(suffix, tmp_path):
    scoring_project(tmp_path)
    source = write_table(table_with_nulls(MANY), tmp_path / f"rows{suffix}")
    assert run(tmp_path, source, tmp_path / f"clean{suffix}") == 1
    out, ends = tmp_path / f"killed{suffix}", []
    for until in STAGES.values():
        ends.append(run(tmp_path, source, out, until=until))
    assert ends[:3] == [-signal.SIGKILL] * 3
    assert run(tmp_path, source, out) == 1
    assert outcome(out) == outcome(tmp_path / f"clean{suffix}")
    assert [row for row, *_ in refused_rows(out)] == [17, 200_017, 400_017]
    assert read_table(out)["row"].equals(pl.Series("row", range(MANY)))


@pytest.mark.long
def test_ten_million_rows_killed_twice_equal_an_uninterrupted_run(tmp_path):
    rows, draw = 10_000_000, Random()
    graph = forest_to_onnx(load_engine("lightgbm").forest(text("binary").encode()))
    names = [f"x{index}" for index in range(4)]
    scoring_project(tmp_path, content=graph, signature=Signature(inputs=tuple(Field(name=name) for name in names)))
    table = number_table(rows).rename(dict(zip("abc", names, strict=False))).with_columns(x3=pl.col("x0") * 7 % 1)
    source = write_table(table, tmp_path / "rows.parquet")
    assert run(tmp_path, source, tmp_path / "clean.parquet") == 0
    out, parts = tmp_path / "killed.parquet", sorted(draw.sample(range(70), 2))
    ends = [run(tmp_path, source, out, until=lambda out, part=part: lines(out) > part) for part in parts]
    assert ends == [-signal.SIGKILL] * 2, parts
    assert run(tmp_path, source, out) == 0
    assert outcome(out) == outcome(tmp_path / "clean.parquet"), parts
    assert pl.scan_parquet(out).select(pl.col("row").is_sorted() & (pl.col("row").n_unique() == rows)).collect().item()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose run was killed half-way; `clean.csv` is the expected output."""
    folder = tmp_path_factory.mktemp("killed")
    settings = scoring_project(folder)
    source = write_table(table_with_nulls(MANY), folder / "rows.parquet")
    score_file(settings, source, folder / "clean.csv", "key")
    assert run(folder, source, folder / "half.csv", until=STAGES["one part"]) == -signal.SIGKILL
    return folder


@pytest.fixture
def half(killed: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder."""
    return shutil.copytree(killed, tmp_path / "half")


def resume(folder: Path, *keep: str) -> bool:
    """Resume in this process; return whether the output equals that of an uninterrupted run."""
    settings = config.load(folder, environment={})
    score_file(settings, folder / "rows.parquet", folder / "half.csv", *(keep or ("key",)))
    return outcome(folder / "half.csv") == outcome(folder / "clean.csv")


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["its end", "all"])
def test_an_incomplete_part_is_computed_again(lost, half):
    parts = half / "half.csv.parts"
    last = parts / f"{lines(half / 'half.csv') - 1:06}.csv"
    last.unlink()
    if lost == "its end":
        last.write_bytes(b"0,k-0,0.5,")
    with (parts / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"end": 99, "posi')
    assert resume(half)


@pytest.mark.slow
def test_a_run_killed_before_its_receipt_was_written_completes(half):
    for suffix in ("", ".refused.csv"):
        shutil.copy(half / f"clean.csv{suffix}", half / f"half.csv{suffix}")
    assert resume(half) and not (half / "half.csv.parts").exists()


@pytest.mark.slow
def test_other_options_are_refused_and_the_run_can_still_be_completed(half):
    settings, out = config.load(half, environment={}), half / "half.csv"
    with pytest.raises(StoreError, match=r"keep is .*, was") as error:
        resume(half, "key", "a")
    assert "rm -r" in error.value.hint and "half.csv.parts" in error.value.hint
    before = publish(settings, threshold=0.9)
    publish(settings, threshold=0.8)
    with pytest.raises(StoreError, match=r"release is 'sha256:.*, was") as error:
        resume(half)
    address = next(word for word in error.value.hint.split() if "@" in word).rstrip(",")
    assert address != f"flights@{before.removeprefix('sha256:')[:12]}"
    predict(settings, address, half / "rows.parquet", out, keep=("key",))
    assert outcome(out) == outcome(half / "clean.csv")


@pytest.mark.slow
@pytest.mark.parametrize("change", ["content", "time"])
def test_a_run_is_not_resumed_on_a_changed_file(change, half):
    source = half / "rows.parquet"
    if change == "time":
        os.utime(source)
    else:
        found = source.stat()
        content = bytearray(source.read_bytes())
        content[:2000] = bytes(2000)
        source.write_bytes(content)
        os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(StoreError, match="changed_ns is" if change == "time" else "samples is"):
        resume(half)


@pytest.mark.slow
def test_one_process_at_a_time_writes_an_output(half):
    lock = os.open(half / "half.csv.parts", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="another process"):
        resume(half)
    os.close(lock)
    assert resume(half)


@pytest.mark.slow
def test_an_output_file_created_during_the_run_is_not_overwritten(half):
    (half / "half.csv").write_text("another file\n")
    with pytest.raises(StoreError, match="was created during the run"):
        resume(half)
    assert (half / "half.csv").read_text() == "another file\n"
    (half / "half.csv").unlink()
    (half / "half.csv").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        resume(half)
    (half / "half.csv").rmdir()
    assert resume(half)


@pytest.fixture
def done(tmp_path: Path) -> tuple[Config, Path, Path]:
    """Return a project, a file, and its output."""
    settings = scoring_project(tmp_path)
    source, out = write_table(number_table(100), tmp_path / "rows.csv"), tmp_path / "scores.csv"
    score_file(settings, source, out)
    return settings, source, out


def test_an_existing_output_is_not_computed_again(done):
    settings, source, out = done
    before = out.stat().st_mtime_ns
    receipt = score_file(settings, source, out)
    assert (receipt.rows, out.stat().st_mtime_ns) == (100, before)


def test_an_output_with_other_options_is_not_overwritten(done):
    settings, source, out = done
    with pytest.raises(StoreError, match=r"keep is \('a',\), was \(\)") as error:
        score_file(settings, source, out, "a")
    assert "rm" in error.value.hint


def test_a_modified_output_is_not_overwritten(done):
    settings, source, out = done
    out.write_text("row\n")
    with pytest.raises(StoreError, match="changed after it was written"):
        score_file(settings, source, out)


def test_a_deleted_output_is_computed_again(done):
    settings, source, out = done
    content = out.read_bytes()
    out.unlink()
    score_file(settings, source, out)
    assert out.read_bytes() == content


def test_a_foreign_folder_of_the_same_name_is_not_touched(tmp_path):
    (tmp_path / "scores.csv.parts").mkdir()
    (tmp_path / "scores.csv.parts" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds other files"):
        score_file(
            scoring_project(tmp_path), write_table(number_table(3), tmp_path / "rows.csv"), tmp_path / "scores.csv"
        )
    assert (tmp_path / "scores.csv.parts" / "thesis.txt").read_text() == "mine"


def test_a_file_that_changes_while_it_is_read_has_no_output(tmp_path):
    settings, source = scoring_project(tmp_path), write_table(number_table(3), tmp_path / "rows.csv")
    with pytest.raises(DataError, match="changed while it was read"):
        predict(settings, LIVE, source, tmp_path / "scores.csv", callback=lambda _: os.utime(source, (1, 1)))
    assert not (tmp_path / "scores.csv").exists()


def test_an_unwritable_folder_is_an_error(tmp_path):
    settings, source = scoring_project(tmp_path), write_table(number_table(3), tmp_path / "rows.csv")
    with pytest.raises(StoreError, match="cannot write"):
        score_file(settings, source, source / "scores.csv")


def test_the_folder_of_an_output_is_one_process_alone(tmp_path):
    with (
        lock_folder(tmp_path / "parts", output="scores.csv"),
        pytest.raises(StoreError, match=r"another process is writing 'scores.csv'.*\n.*\n.*wait until it ends"),
        lock_folder(tmp_path / "parts", output="scores.csv"),
    ):
        pass


def test_an_error_in_the_work_is_not_reported_as_another_process(tmp_path):
    with pytest.raises(BlockingIOError), lock_folder(tmp_path / "parts", output="scores.csv"):
        raise BlockingIOError
