"""Predictions are stored on S3 by a real server: complete objects, the same as on disk, and the receipt last."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.batch.scoring import LIVE, number_table, publish, scoring_project
from tests.batch.test_folder import by_threads, files_of, write_parts
from tests.storage.seaweed import SECRET_KEY, Seaweed

from headway.batch import objects
from headway.batch.journal import Receipt
from headway.batch.predict import predict
from headway.cli.main import main
from headway.core import record
from headway.core.errors import ConfigError, StoreError

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
RUN = "import sys\nfrom headway.cli.main import main\nmain(sys.argv[1:])"


def stored(address: str, seaweed: Seaweed) -> dict[str, bytes]:
    """Return the objects below an address by the rest of their key."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    client = seaweed.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return {key.removeprefix(f"{prefix}/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def put(address: str, seaweed: Seaweed, content: bytes) -> None:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    seaweed.client().put_object(Bucket=bucket, Key=key, Body=content)


def test_objects_are_the_files_of_a_run_on_disk(s3, seaweed, tmp_path, monkeypatch):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    number_table(10).with_columns(a=pl.lit(float("inf"))).write_parquet(rows / "month=2/a.parquet")
    here = predict(settings, LIVE, rows, tmp_path / "scores", keep=["key"])
    there = predict(settings, LIVE, rows, f"{s3}/scores", keep=["key"])
    assert there == here and here.refused == 10
    on_disk = {f"scores/{name}": content for name, content in files_of(tmp_path / "scores").items()}
    others = {name: (tmp_path / name).read_bytes() for name in ("scores.receipt.json", "scores.refused.csv")}
    assert stored(s3, seaweed) == on_disk | others
    assert not list((settings.state / objects.FOLDER).iterdir())
    assert SECRET_KEY.encode() not in others["scores.receipt.json"]
    monkeypatch.setattr("headway.batch.scorer.Scorer.scores", None)  # a complete output is not scored again
    assert predict(settings, LIVE, rows, f"{s3}/scores", keep=["key"]) == here


def test_one_file_and_a_folder_on_s3_shared_by_workers_are_stored(s3, seaweed, tmp_path, monkeypatch, capsys):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    words = ["predict", LIVE, str(rows / "month=1/a.parquet"), f"{s3}/one.parquet", "--project", str(tmp_path)]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    assert f"{s3}/one.parquet has digest sha256:" in capsys.readouterr().out
    assert set(stored(s3, seaweed)) == {"one.parquet", "one.parquet.receipt.json"}
    for name, content in files_of(rows).items():
        put(f"{s3}/rows/{name}", seaweed, content)
    here = predict(settings, LIVE, rows, tmp_path / "scores")
    there = predict(by_threads(monkeypatch, settings), LIVE, f"{s3}/rows", f"{s3}/scores")
    assert there.digest == here.digest
    assert {name for name in stored(s3, seaweed) if name.startswith("scores/")} == {
        f"scores/{name}" for name in files_of(tmp_path / "scores")
    }


def test_a_run_goes_on_after_a_kill_and_leaves_no_partial_object(s3, seaweed, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=150_000)
    here = predict(settings, LIVE, rows, tmp_path / "here", keep=["key"])
    words = ["predict", LIVE, str(rows), f"{s3}/scores", "--keep", "key", "--project", str(tmp_path)]
    kill_when(words, lambda: any((settings.state / objects.FOLDER).rglob("journal.jsonl")))
    assert set(stored(s3, seaweed)) == {"scores.terms.json"}
    kill_when(words, lambda: "scores/month=1/a.parquet" in stored(s3, seaweed))
    expected = {f"scores/{name}": content for name, content in files_of(tmp_path / "here").items()}
    found = {name: content for name, content in stored(s3, seaweed).items() if name.startswith("scores/")}
    assert found and found.items() <= expected.items()
    assert predict(settings, LIVE, rows, f"{s3}/scores", keep=["key"]).digest == here.digest
    found = stored(s3, seaweed)
    assert record.read(Receipt, found.pop("scores.receipt.json")).files == here.files and found == expected


def kill_when(words: list[str], happened: Callable[[], bool]) -> None:
    """Start the command, and kill it as soon as something has happened; it may have ended by then."""
    ends = time.monotonic() + 120
    path = os.pathsep.join([str(ROOT / "tests/outside"), os.environ.get("PYTHONPATH", "")])
    command, settings = [sys.executable, "-c", RUN, *words], {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL) as process:
        while not happened():
            assert time.monotonic() < ends
            if process.poll() is not None:
                break
        process.kill()


def test_runs_do_not_mix(s3, seaweed, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    first = predict(settings, LIVE, rows, f"{s3}/scores")
    with pytest.raises(StoreError, match="'scores' is the output of another run: keep is"):
        predict(settings, LIVE, rows, f"{s3}/scores", keep=["key"])
    put(f"{s3}/scores/month=1/a.parquet", seaweed, b"other")
    with pytest.raises(StoreError, match=r"was changed after it was written: scores/month=1/a.parquet"):
        predict(settings, LIVE, rows, f"{s3}/scores")
    put(f"{s3}/mine/a.parquet", seaweed, b"mine")
    with pytest.raises(StoreError, match="'mine' exists already"):
        predict(settings, LIVE, rows, f"{s3}/mine")
    put(f"{s3}/begun.terms.json", seaweed, record.write(first.terms))
    publish(settings, shift=1.0)
    with pytest.raises(StoreError, match="'begun' was started with another release, file or options: release is"):
        predict(settings, LIVE, rows, f"{s3}/begun")


def test_addresses_that_cannot_be_an_output_are_errors(s3, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    with pytest.raises(ConfigError, match="names a bucket, and no object in it"):
        predict(settings, LIVE, rows, "s3://bucket")
    with pytest.raises(ConfigError, match="is in the source"):
        predict(settings, LIVE, f"{s3}/rows", f"{s3}/rows/scores")
    with objects.open_output(f"{s3}/scores", settings.state), pytest.raises(StoreError, match="another process is"):
        predict(settings, LIVE, rows, f"{s3}/scores")
