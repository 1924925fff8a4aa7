"""A join on a real Ray writes the file of one machine."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.features.join_tables import VIEWS, make_tables

from headway.batch.compute import open_workers
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.features.historical import get_historical_features
from headway.features.partitioned_join import write_historical_features

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("default")]


def test_partitions_that_ray_joins_give_the_file_of_one_machine(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    rows = make_tables(tmp_path)
    out = tmp_path / "out.parquet"

    with open_workers(Config(ComputeSection(ray="auto"))) as workers:
        how = {"time": "at", "folder": tmp_path, "memory_bytes": 100_000, "workers": workers}
        write_historical_features(tmp_path / "rows.parquet", VIEWS, out, **how)

    expected = get_historical_features(rows, VIEWS, time="at", folder=tmp_path)
    assert_frame_equal(pl.read_parquet(out), expected, check_exact=True)
