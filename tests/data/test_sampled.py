"""Of a table larger than `[data] max_rows` all rows are counted, and whole groups are sampled."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.storage.postgres import PASSWORD, USER, server

from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError
from headway.data import sampled
from headway.data.check import run_checks
from headway.data.context import CheckContext
from headway.data.contract.check import check_contract
from headway.data.contract.quarantine import decide_rows, list_quarantine
from headway.data.labels.review import add_correction
from headway.data.open import open_dataset
from headway.data.provenance.fingerprint import table_digest
from headway.data.sampled import open_for_checks
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.storage.addresses import open_state

pytestmark = pytest.mark.slow

ROWS, CUSTOMERS = 6_000, 800


def rows(seed: int = 0) -> pl.DataFrame:
    """Return rows of customers, most of whom have several; `late` follows `distance`."""
    draw = np.random.default_rng(seed)
    customer = draw.integers(0, CUSTOMERS, ROWS)
    distance = draw.normal(size=ROWS).round(3)
    return pl.DataFrame(
        {
            "at": [datetime(2024, 1, 1) + timedelta(hours=row) for row in range(ROWS)],
            "customer": customer,
            "distance": distance,
            "weight": pl.Series(draw.integers(1, 9, ROWS).astype(str)).set(pl.Series(np.arange(ROWS) % 50 == 0), "?"),
            "carrier": draw.choice(["AA", "UA", "NA"], ROWS),
            "late": np.where(distance + draw.normal(size=ROWS) > 0, "yes", "no"),
        }
    )


def project(folder: Path, *, table: pl.DataFrame | None = None, **data: object) -> Config:
    """Return a project whose source is a folder of five files."""
    table = rows() if table is None else table
    size = -(-len(table) // 5)
    for month in range(5):
        path = folder / f"rows/month={month + 1}/part.parquet"
        path.parent.mkdir(parents=True)
        table[month * size : (month + 1) * size].write_parquet(path)
    settings = {"time": "at", "groups": "customer", "positive": "yes", "missing": ("NA",), "max_rows": 2_000, **data}
    return Config(DataSection(source="rows", target="late", **settings), folder=str(folder))


def opened(config: Config) -> Dataset:
    with open_for_checks(config) as dataset:
        return dataset


def in_memory(config: Config) -> Dataset:
    return open_dataset(config.having(replace(config[DataSection], max_rows=10**9)))


def test_groups_are_drawn_whole_and_the_digest_is_that_of_all_rows(tmp_path):
    config = project(tmp_path)
    found, everything = opened(config), in_memory(config)
    assert found.digest == everything.digest and found.table.schema == everything.table.schema
    drawn = found.table["customer"].unique()
    assert found.table.equals(everything.table.filter(pl.col("customer").is_in(drawn.implode())))
    assert 1_500 < len(found.table) <= 2_000
    assert found.blanks == everything.blanks and found.roles == everything.roles
    assert str(found.sampled) == (
        f"of 6,000 rows all were counted and {len(found.table):,} sampled: {len(drawn)} of "
        f"{everything.table['customer'].n_unique()} groups, each whole"
    )
    assert found.sampled and found.sampled.until == everything.table["at"].max().isoformat()


def test_a_table_that_fits_is_opened_as_always(tmp_path):
    config = project(tmp_path, max_rows=ROWS)
    found = opened(config)
    assert found.sampled is None and found.table.equals(open_dataset(config).table)


def test_the_sample_does_not_depend_on_batches(tmp_path, monkeypatch):
    config = project(tmp_path)
    before = opened(config)
    monkeypatch.setattr("headway.data.scan.BATCH_VALUES", 1_000)
    after = opened(config)
    assert after.table.equals(before.table) and after.digest == before.digest and after.blanks == before.blanks


def test_rows_of_all_groups_are_drawn_where_few_groups_would_fit(tmp_path):
    found = opened(project(tmp_path, groups="at.day"))
    n_groups = found.table["at.day"].n_unique()
    assert found.sampled and found.sampled.drawn == "rows" and 1_800 < len(found.table) <= 2_000
    assert str(found.sampled).endswith(f"sampled at random, from {n_groups} of 250 groups") and n_groups > 240


def test_rows_without_groups_are_drawn_one_by_one(tmp_path):
    found = opened(project(tmp_path, groups=""))
    assert str(found.sampled) == f"of 6,000 rows all were counted and {len(found.table):,} sampled at random"


def test_queries_are_drawn_whole(tmp_path):
    table = rows().with_columns(late=pl.col("distance").abs())
    ranking = {"task": "ranking", "query_id": "customer", "positive": ""}
    found = opened(project(tmp_path / "a", table=table, **{**ranking, "groups": "carrier", "missing": ()}))
    assert found.sampled and found.sampled.drawn == "queries" and "whole queries at random" in str(found.sampled)
    sizes = dict(table["customer"].value_counts().iter_rows())
    assert all(sizes[name] == count for name, count in found.table["customer"].value_counts().iter_rows())
    few = opened(project(tmp_path / "b", table=table, max_rows=100, **{**ranking, "groups": ""}))
    assert few.sampled and few.sampled.drawn == "groups" and few.sampled.n_groups_sampled < 100


def test_many_groups_are_estimated(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled, "MAX_COUNTED", 256)
    found = opened(project(tmp_path)).sampled
    assert found and not found.n_groups_exact and abs(found.n_groups - CUSTOMERS) < 0.2 * CUSTOMERS
    assert f"of about {found.n_groups} groups" in str(found)


def test_groups_larger_than_the_sample_are_an_error(tmp_path):
    table = rows().with_columns(late=pl.col("distance").abs())
    config = project(tmp_path, table=table, task="ranking", query_id="carrier", groups="", positive="", missing=())
    with pytest.raises(DataError, match=r"\[data\] max_rows = 2,000 holds no whole group of the 6,000 rows"):
        opened(config.having(replace(config[DataSection], max_rows=2_000)))


def test_a_row_without_a_group_is_named_by_its_number_in_the_table(tmp_path):
    table = rows().with_columns(customer=pl.when(pl.int_range(ROWS) < 4_321).then("customer"))
    with pytest.raises(DataError, match="1,679 of 6,000 rows have no group 'customer'") as raised:
        opened(project(tmp_path, table=table))
    assert raised.value.where == "row 4322"


def test_a_positive_class_that_never_occurs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="target 'late' is never 'maybe'"):
        opened(project(tmp_path, positive="maybe"))


def test_a_positive_class_may_be_absent_from_a_batch(tmp_path):
    table = rows().sort("late")
    config = project(tmp_path, table=table)
    assert opened(config).digest == in_memory(config).digest


def test_an_error_in_a_later_batch_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.data.scan.BATCH_VALUES", 7_000)
    table = rows().with_columns(late=pl.when(pl.int_range(ROWS) < 5_000).then("late").otherwise(pl.lit("never")))
    config = project(tmp_path, table=table, task="multiclass", positive="", classes=("no", "yes"))
    with pytest.raises(DataError, match="holds 'never'") as raised:
        opened(config)
    assert raised.value.where == "row 401; classes: no, yes, of the rows from 4,601 on"


def test_a_time_of_several_formats_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.data.scan.BATCH_VALUES", 7_000)
    day = pl.col("at").dt.strftime("%Y-%m-%d")
    table = rows().with_columns(at=pl.when(pl.int_range(ROWS) < 4_600).then(day).otherwise(day + " 10:00"))
    with pytest.raises(
        DataError, match=r"column 'at' is read as Date in the first rows, and as Datetime.* from row 4,601"
    ):
        opened(project(tmp_path, table=table))


def test_settings_that_need_the_whole_table_are_refused(tmp_path):
    config = project(tmp_path / "a").having(PersonalSection(drop=("email",), key="hash.key"))
    with pytest.raises(ConfigError, match=r"'email' in .personal. is a kind of personal data") as raised:
        opened(config)
    assert raised.value.hint == "name the columns instead; or [data] max_rows = 6000, if memory holds them"
    with pytest.raises(ConfigError, match="classes of a target of strings are numbered over all rows"):
        opened(project(tmp_path / "b", task="embedding", positive=""))


def test_columns_of_personal_data_are_hashed_in_all_rows(tmp_path):
    config = project(tmp_path)
    config = config.having(PersonalSection(hash=("customer",), drop=("carrier",), key="hash.key"))
    found, everything = opened(config), in_memory(config)
    assert found.digest == everything.digest and "carrier" not in found.table.columns
    assert found.sampled and found.sampled.n_groups == everything.table["customer"].n_unique()
    assert found.provenance == everything.provenance


def test_corrected_labels_are_part_of_the_digest(tmp_path):
    config = project(tmp_path)
    before = opened(config).digest
    label = "no" if rows()["late"][4_000] == "yes" else "yes"
    state = open_state(config)
    add_correction(config, state, row=4_001, to=label, who="ann", why="a test")
    state.close()
    after = opened(config).digest
    assert after != before and after == in_memory(config).digest == table_digest(in_memory(config).table)


def test_discarded_rows_are_left_out_as_of_a_table_in_memory(tmp_path):
    config = project(tmp_path)
    before, n_rows = opened(config).digest, len(in_memory(config).table)
    (tmp_path / "contract.toml").write_text('[columns.distance]\ntype = "number"\nminimum = -2.0\n')
    check_contract(config)
    state = open_state(config)
    (file,) = list_quarantine(config)
    decide_rows(config, state, file.file, [], "discarded", who="ann", why="a test")
    state.close()
    everything = in_memory(config)
    assert len(everything.table) == n_rows - file.n_rows
    found = opened(config)
    assert found.digest == everything.digest != before
    assert found.table["distance"].min() >= -2.0
    assert found.table["distance"].is_in(everything.table["distance"]).all()


CONTRACT = '[columns.distance]\ntype = "number"\nminimum = -2.0\n'


def test_a_contract_is_checked_on_all_rows(tmp_path):
    config = project(tmp_path)
    (tmp_path / "contract.toml").write_text(CONTRACT)
    below = int((rows()["distance"] < -2).sum())
    with open_for_checks(config) as dataset:
        found = run_checks(CheckContext(dataset=dataset, config=config), families=["contract"])
    [finding] = [finding for finding in found if finding.code == "D012"]
    assert finding.message.endswith(f"{below:,} of 6,000 rows")
    report = check_contract(config)
    assert (report.n_rows, report.n_failing, report.dataset) == (ROWS, below, in_memory(config).digest)
    assert len(pl.read_parquet(report.quarantine)) == below


def test_csv_files_are_read_as_in_memory(tmp_path):
    table = (
        rows()
        .drop("weight")
        .with_columns(
            day=pl.col("at").dt.date(), note=pl.when(pl.int_range(ROWS) > 3_000).then(pl.lit("2024-01-01")), none=None
        )
    )
    odd = pl.when(pl.int_range(ROWS) == 5_000).then(pl.lit("yesterday")).otherwise(pl.lit("2024-02-30"))
    (tmp_path / "rows").mkdir()
    for part in range(2):
        table.with_columns(odd=odd).gather_every(2, part).write_csv(tmp_path / f"rows/{part}.csv")
    config = Config(
        DataSection(source="rows", target="late", time="at", groups="customer", positive="yes", max_rows=2_000),
        folder=str(tmp_path),
    )
    found, everything = opened(config), in_memory(config)
    assert found.table.schema == everything.table.schema and found.table.schema["day"] == pl.Date
    assert found.digest == everything.digest and found.sampled and found.sampled.n_rows == ROWS


def assert_sampled_as_in_memory(config: Config, n_rows: int) -> None:
    found, everything = opened(config), in_memory(config)
    assert found.sampled and found.sampled.drawn == "groups" and found.sampled.n_rows == n_rows
    assert found.digest == everything.digest and found.table.schema == everything.table.schema
    drawn = found.table["customer"].unique()
    assert found.table.equals(everything.table.filter(pl.col("customer").is_in(drawn.implode())))


def test_a_result_of_sqlite_is_read_as_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.data.sources.sqlite.FETCH_ROWS", 700)
    table = rows().with_columns(pl.col("at").dt.strftime("%Y-%m-%d %H:%M"))
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute(f"CREATE TABLE t ({', '.join(table.columns)})")
        database.executemany(f"INSERT INTO t VALUES ({', '.join('?' * table.width)})", table.rows())
    data = {"target": "late", "time": "at", "groups": "customer", "positive": "yes", "max_rows": 2_000}
    config = Config(
        DataSection(source="sqlite:///x.db", query="SELECT * FROM t ORDER BY at", **data), folder=str(tmp_path)
    )
    assert_sampled_as_in_memory(config, ROWS)
    assert opened(config).table.schema["at"] == pl.Datetime("us")
    fits = config.having(replace(config[DataSection], max_rows=ROWS))
    assert opened(fits).table.equals(open_dataset(fits).table) and opened(fits).sampled is None


QUERY = (
    "SELECT g AS number, g % 700 AS customer, g / 8.0 AS distance, CASE WHEN g > 60000 THEN 'x' || g END AS name, "
    "CAST(g % 3 = 0 AS int) AS late FROM generate_series(1, 120000) AS {} ORDER BY g"
)
LARGE = {"query": QUERY.format("t(g)"), "time": "", "positive": "", "missing": (), "max_rows": 60_000}


@pytest.mark.services
def test_a_result_of_postgresql_is_sampled_by_a_cursor_of_the_server(tmp_path):
    with server() as postgres:
        source = f"postgresql://{USER}:{quote(PASSWORD)}@{postgres.address}/postgres"
        config = Config(DataSection(source=source, target="late", groups="customer", **LARGE), folder=str(tmp_path))
        assert_sampled_as_in_memory(config, 120_000)
        small = config.having(replace(config[DataSection], max_rows=200_000))
        assert opened(small).sampled is None and opened(small).digest == in_memory(config).digest
        with pytest.raises(DataError, match="PostgreSQL refuses the query") as raised:
            opened(config.having(replace(config[DataSection], query="SELECT nothing")))
    assert PASSWORD not in str(raised.value)


@pytest.mark.services
def test_a_relation_of_duckdb_is_sampled(tmp_path):
    config = Config(DataSection(source="duckdb://", target="late", groups="customer", **LARGE), folder=str(tmp_path))
    assert_sampled_as_in_memory(config, 120_000)
    none = config.having(replace(config[DataSection], query=f"SELECT * FROM ({LARGE['query']}) WHERE number < 0"))
    with pytest.raises(DataError, match="has no rows"):
        opened(none)


@pytest.mark.services
def test_objects_on_s3_are_sampled_as_files_are(s3, seaweed, tmp_path):
    config = project(tmp_path)
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    for path in (tmp_path / "rows").rglob("*.parquet"):
        key = f"{prefix}/{path.relative_to(tmp_path / 'rows').as_posix()}"
        seaweed.client().put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    there = opened(config.having(replace(config[DataSection], source=s3)))
    here = opened(config)
    assert there.table.equals(here.table) and (there.digest, there.sampled) == (here.digest, here.sampled)
