"""A folder of parquet files with Hive partitions is scored file by file, and its output appears at once."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace as changed
from tests.batch.scoring import LIVE, MIXED, answer_plan, number_table, scoring_project, withdraw
from tests.batch.test_resume import run

from headway.batch import folder
from headway.batch.compute import open_ray
from headway.batch.folder import FileTask, ReleaseBytes, list_files, score_task
from headway.batch.journal import Receipt
from headway.batch.predict import predict
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.core.errors import ConfigError, DataError, Refused, StoreError
from headway.core.workers import Workers
from headway.registry.model_registry import ModelRegistry
from headway.registry.settings.trust import TrustSection

pytestmark = pytest.mark.slow

MANY = 200_000  # rows of a file: 4 parts


class Threads:
    """Workers that are threads of this process, and change what they wrote if a test asks for it."""

    def __init__(self, after: Callable[[FileTask], object]) -> None:
        self._after = after

    def map(
        self,
        function: Callable[[ReleaseBytes, FileTask], Receipt],
        shared: ReleaseBytes,
        tasks: Sequence[FileTask],
    ) -> Iterator[tuple[int, Receipt]]:
        with ThreadPoolExecutor(1) as pool:
            results = list(pool.map(lambda task: (function(shared, task), self._after(task))[0], tasks))
        return reversed(list(enumerate(results)))


def by_threads(
    monkeypatch: pytest.MonkeyPatch, settings: Config, after: Callable[[FileTask], object] = lambda _: None
) -> Config:
    """Return settings with `[compute] ray`, whose workers are threads."""

    @contextmanager
    def workers(_: str) -> Iterator[Workers]:
        yield Threads(after)

    monkeypatch.setattr("headway.batch.compute.open_ray", workers)
    return settings.having(ComputeSection(ray="auto"))


def write_parts(where: Path, *, rows: int = 1000) -> Path:
    """Write a folder with three files of two months, and what other tools leave in such a folder."""
    for seed, name in enumerate(("month=1/a.parquet", "month=1/b.parquet", "month=2/a.parquet")):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        number_table(rows + seed, seed=seed).write_parquet(where / name)
    (where / "_SUCCESS").touch()
    (where / "month=1/.a.parquet.crc").touch()
    return where


def files_of(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_each_file_is_scored_as_it_would_be_alone(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    receipt = predict(settings, LIVE, rows, tmp_path / "out", keep=["key", "month"])
    assert receipt.rows == 3003 and [file.rows for file in receipt.files] == [1000, 1001, 1002]
    for name in ("month=1/a.parquet", "month=1/b.parquet", "month=2/a.parquet"):
        alone = predict(settings, LIVE, rows / name, tmp_path / "alone.parquet", keep=["key"])
        assert (tmp_path / "alone.parquet").read_bytes() == (tmp_path / "out" / name).read_bytes()
        assert alone.digest in {file.digest for file in receipt.files}
        assert alone.terms.samples in {file.samples for file in receipt.files}
        for path in tmp_path.glob("alone*"):
            path.unlink()
    read = pl.read_parquet(tmp_path / "out/**/*.parquet", hive_partitioning=True)
    assert read["month"].value_counts().sort("month").rows() == [(1, 2001), (2, 1002)]
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out", "out.receipt.json"]


def test_a_finished_folder_is_not_scored_again_and_a_changed_one_is_reported(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    out = tmp_path / "out"
    receipt, calls = predict(settings, LIVE, rows, out), []
    assert predict(settings, LIVE, rows, out, callback=calls.append) == receipt and calls == []
    (out / "month=2/a.parquet").unlink()
    with pytest.raises(StoreError, match="'out' was changed after it was written") as changed_since:
        predict(settings, LIVE, rows, out)
    assert changed_since.value.hint.startswith("rm -r ")
    number_table(5).write_parquet(rows / "month=2/b.parquet")
    with pytest.raises(StoreError, match="'out' is the output of another run: size_bytes is"):
        predict(settings, LIVE, rows, out)


def test_a_model_reads_partitions_as_columns(tmp_path):
    settings, rows = scoring_project(tmp_path, signature=MIXED), tmp_path / "rows"
    for carrier, size in (("UA", "3"), ("__HIVE_DEFAULT_PARTITION__", "1e1"), ("%55A", "__HIVE_DEFAULT_PARTITION__")):
        (rows / f"carrier={carrier}/size={size}").mkdir(parents=True)
        pl.DataFrame({"other": [1, 2]}).write_parquet(rows / f"carrier={carrier}/size={size}/a.parquet")
    predict(settings, LIVE, rows, tmp_path / "out")
    flat = pl.DataFrame({"carrier": ["UA", None, "UA"], "size": [3.0, 10.0, None]})
    flat.write_parquet(tmp_path / "flat.parquet")
    predict(settings, LIVE, tmp_path / "flat.parquet", tmp_path / "flat-scores.parquet")
    expected = pl.read_parquet(tmp_path / "flat-scores.parquet")["probability"].to_list()
    names = ("carrier=UA/size=3", "carrier=__HIVE_DEFAULT_PARTITION__/size=1e1")
    for name, probability in zip((*names, "carrier=%55A/size=__HIVE_DEFAULT_PARTITION__"), expected, strict=True):
        scores = pl.read_parquet(tmp_path / "out" / name / "a.parquet", hive_partitioning=False)
        assert scores["probability"].to_list() == [probability, probability]


def test_rejected_rows_are_listed_with_their_file(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=3)
    table = number_table(2).with_columns(a=pl.Series([0.5, float("inf")]))
    table.write_parquet(rows / "month=2/a.parquet")
    receipt = predict(settings, LIVE, rows, tmp_path / "out")
    lines = (tmp_path / "out.refused.csv").read_text().splitlines()
    assert receipt.refused == 1 and receipt.columns == {"a": 1}
    assert lines[0] == "file,row,column,value,reason" and lines[1].startswith("month=2/a.parquet,1,a,inf,")
    assert pl.read_parquet(tmp_path / "out/month=2/a.parquet")["probability"].is_null().to_list() == [False, True]


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """Return a project with the rows of large files, and their output `whole`, of a run that was not disturbed."""
    project = tmp_path_factory.mktemp("scored")
    scoring_project(project)
    assert run(project, write_parts(project / "rows", rows=MANY), project / "whole") == 0
    return project


@pytest.mark.parametrize("until", ["month=1/a.parquet.receipt.json", "month=1/b.parquet.parts/journal.jsonl"])
def test_a_killed_run_resumes_with_the_same_result(until, scored, tmp_path):
    rows, out = scored / "rows", tmp_path / "out"
    journals = tmp_path / "out.parts/journals"
    assert run(scored, rows, out, until=lambda _: (journals / until).exists()) == -9
    assert not out.exists()
    assert run(scored, rows, out) == 0
    assert files_of(out) == files_of(scored / "whole")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out", "out.receipt.json"]


def test_a_run_that_ended_before_its_receipt_was_written_gets_it(tmp_path, monkeypatch):
    settings, rows, out = scoring_project(tmp_path), write_parts(tmp_path / "rows"), tmp_path / "out"
    write = folder.journal.atomic.write

    def ends(path: Path, content: bytes) -> None:
        if path.name == "out.receipt.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr("headway.batch.journal.atomic.write", ends)
    with pytest.raises(KeyboardInterrupt):
        predict(settings, LIVE, rows, out)
    monkeypatch.undo()
    assert out.is_dir() and not (tmp_path / "out.receipt.json").exists()
    before = files_of(out)
    assert predict(settings, LIVE, rows, out).rows == 3003 and files_of(out) == before
    assert not (tmp_path / "out.parts").exists()


def test_an_output_that_appears_during_a_run_is_kept(tmp_path):
    settings, rows, out = scoring_project(tmp_path), write_parts(tmp_path / "rows"), tmp_path / "out"
    with pytest.raises(StoreError, match="'out' was created during the run"):
        predict(settings, LIVE, rows, out, callback=lambda _: out.mkdir(exist_ok=True))
    with pytest.raises(StoreError, match="'out' was created during the run"):
        predict(settings, LIVE, rows, out)
    assert list(out.iterdir()) == []
    out.rmdir()
    assert predict(settings, LIVE, rows, out).rows == 3003


def test_a_file_that_is_added_during_a_run_stops_it(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    with pytest.raises(DataError, match="'rows' changed while it was read"):
        predict(
            settings,
            LIVE,
            rows,
            tmp_path / "out",
            callback=lambda _: number_table(9).write_parquet(rows / "month=2/b.parquet"),
        )


def spoil_partitions(rows: Path) -> None:
    (rows / "other").mkdir()
    number_table(3).write_parquet(rows / "other/a.parquet")


def spoil_columns(rows: Path) -> None:
    number_table(3).drop("b").write_parquet(rows / "month=1/a.parquet")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_partitions, "'other/a.parquet' has the partitions none, 'month=1/a.parquet' has month"),
        (spoil_columns, "column 'b' is missing from the file"),
        (lambda rows: [shutil.rmtree(path) for path in rows.glob("month=*")], "no .parquet file in 'rows'"),
    ],
)
def test_a_folder_that_cannot_be_scored_is_an_error(spoil, message, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=3)
    spoil(rows)
    with pytest.raises(DataError, match=message):
        predict(settings, LIVE, rows, tmp_path / "out")


def test_a_partition_that_should_be_a_number_is_an_error(tmp_path):
    settings, rows = scoring_project(tmp_path), tmp_path / "rows/a=one"
    rows.mkdir(parents=True)
    number_table(3).write_parquet(rows / "x.parquet")
    with pytest.raises(DataError, match="the partition a=one is not a number"):
        predict(settings, LIVE, tmp_path / "rows", tmp_path / "out")


def test_a_folder_is_not_written_into_one_file(tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=3)
    with pytest.raises(ConfigError, match=r"'out.parquet' is the name of a file, the source is a folder"):
        predict(settings, LIVE, rows, tmp_path / "out.parquet")


def test_shared_files_give_the_same_result(tmp_path, monkeypatch):
    settings, rows, progress = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=20_000), []
    here = predict(settings, LIVE, rows, tmp_path / "here", keep=["key"])
    shared = by_threads(monkeypatch, settings)
    assert predict(shared, LIVE, rows, tmp_path / "there", keep=["key"], callback=progress.append) == here
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    assert [done.share for done in progress][-1] == 1.0 and progress[-1].rows == 60_003


def test_a_result_that_differs_from_what_the_driver_computes_is_refused(tmp_path, monkeypatch):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")

    def flip_a_bit(task: FileTask) -> None:
        scores = pl.read_parquet(task.files.out, hive_partitioning=False)
        wrong = scores.with_columns(probability=pl.col("probability") + 2.0**-53)
        metadata = pl.read_parquet_metadata(task.files.out)
        wrong.write_parquet(task.files.out, metadata={k: v for k, v in metadata.items() if k.startswith("headway")})
        receipt_file = task.files.sibling(".receipt.json")
        receipt = folder.journal.record.read(Receipt, receipt_file.read_bytes())
        digest = folder.journal._digest(task.files.out)
        receipt_file.write_bytes(folder.journal.record.write(changed(receipt, digest=digest)))

    class Lying(Threads):
        def map(self, function, shared, tasks):
            for number, _ in super().map(function, shared, tasks):
                content = tasks[number].files.sibling(".receipt.json").read_bytes()
                yield number, folder.journal.record.read(Receipt, content)

    shared = by_threads(monkeypatch, settings)

    @contextmanager
    def lying(_: str) -> Iterator[Workers]:
        yield Lying(flip_a_bit)

    monkeypatch.setattr("headway.batch.compute.open_ray", lying)
    with pytest.raises(Refused, match="was scored otherwise by a worker than here, in rows"):
        predict(shared, LIVE, rows, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_result_that_is_not_the_reported_one_is_refused(tmp_path, monkeypatch):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    shared = by_threads(monkeypatch, settings, lambda task: task.files.sibling(".receipt.json").unlink())
    with pytest.raises(Refused, match="is not the one that its worker reported"):
        predict(shared, LIVE, rows, tmp_path / "out")


def test_workers_do_not_answer_a_withdrawn_class(tmp_path, monkeypatch):
    settings, rows = scoring_project(tmp_path, answers=answer_plan()), write_parts(tmp_path / "rows", rows=50)
    shared = by_threads(monkeypatch, settings)
    predict(shared, LIVE, rows, tmp_path / "before")
    withdraw(settings, "1")
    predict(shared, LIVE, rows, tmp_path / "after")
    reasons = [set(pl.read_parquet(tmp_path / name / "**/*.parquet")["reason"]) for name in ("before", "after")]
    assert reasons == [{"", "low_confidence"}, {"", "low_confidence", "withdrawn"}]


def bundle_bytes(tmp_path: Path) -> ReleaseBytes:
    register = ModelRegistry.from_config(scoring_project(tmp_path))
    try:
        return ReleaseBytes.of(register.resolve(LIVE))
    finally:
        register.state.close()


def test_a_worker_refuses_bytes_that_are_not_the_releases(tmp_path):
    sent = bundle_bytes(tmp_path)
    assert sent.open()[0].digest == sent.digest
    for wrong, message in (
        (replace(sent, files=dict.fromkeys(sent.files, b"other")), "was changed on its way"),
        (replace(sent, files={}), "was changed on its way"),
        (replace(sent, record=sent.record + b" "), "record of the release was changed"),
        (replace(sent, version="0.0.1"), "this worker runs headway .*, the driver 0.0.1"),
    ):
        with pytest.raises(Refused, match=message):
            wrong.open()


def test_what_is_sent_to_a_worker_holds_no_key(tmp_path):
    settings, sent = scoring_project(tmp_path), bundle_bytes(tmp_path)
    private = settings.path(settings[TrustSection].publisher_key)
    (file,) = list_files(write_parts(tmp_path / "rows" / "one"))[:1]
    content = pickle.dumps((score_task, sent, file))
    assert str(private).encode() not in content and private.read_bytes().split(b"\n")[1] not in content


def test_another_address_than_one_of_ray_is_an_error():
    with pytest.raises(ConfigError, match="'http://x' is not an address of Ray"):
        open_ray("http://x")
