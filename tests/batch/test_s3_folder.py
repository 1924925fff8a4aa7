"""Parquet objects on S3 are scored as the same files on disk are, by a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.batch.scoring import LIVE, scoring_project
from tests.batch.test_folder import by_threads, files_of, write_parts
from tests.storage.seaweed import SECRET_KEY, Seaweed

from headway.batch.predict import predict
from headway.core.errors import DataError, StoreError

pytestmark = pytest.mark.services


def upload(rows: Path, address: str, seaweed: Seaweed) -> None:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    for path in (path for path in rows.rglob("*") if path.is_file()):
        key = f"{prefix}/rows/{path.relative_to(rows).as_posix()}"
        seaweed.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())


def test_objects_give_the_result_of_files(s3, seaweed, tmp_path, monkeypatch):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows", rows=100_000)
    upload(rows, s3, seaweed)
    here = predict(settings, LIVE, rows, tmp_path / "here", keep=["key"])
    there = predict(settings, LIVE, f"{s3}/rows", tmp_path / "there", keep=["key"])
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here") and there.digest == here.digest
    assert all(file.samples.startswith("etag:") for file in there.files) and there.terms.file == f"{s3}/rows"
    assert SECRET_KEY not in (tmp_path / "there.receipt.json").read_text()
    shared = by_threads(monkeypatch, settings)
    assert predict(shared, LIVE, f"{s3}/rows", tmp_path / "shared", keep=["key"]).digest == here.digest


def test_an_object_that_is_replaced_during_a_run_stops_it(s3, seaweed, tmp_path):
    settings, rows = scoring_project(tmp_path), write_parts(tmp_path / "rows")
    upload(rows, s3, seaweed)
    other = write_parts(tmp_path / "other", rows=2000)
    with pytest.raises(DataError, match="changed while it was read"):
        predict(settings, LIVE, f"{s3}/rows", tmp_path / "out", callback=lambda _: upload(other, s3, seaweed))


def test_a_prefix_without_objects_and_a_server_that_is_away_are_errors(s3, tmp_path, monkeypatch):
    settings = scoring_project(tmp_path)
    with pytest.raises(DataError, match=r"no \.parquet file in 's3://.*/none'"):
        predict(settings, LIVE, f"{s3}/none", tmp_path / "out")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="the S3 server does not answer"):
        predict(settings, LIVE, f"{s3}/rows", tmp_path / "out")
