from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from tests.data.tables import message, small, wide, with_column

from headway.cli.demo import flights
from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError, NotApplicable
from headway.data.checks.leakage.revised_values import plugin
from headway.data.context import CheckContext
from headway.data.settings.data import DataSection

NAMED = with_column(wide(), row=list(range(2000)))


def revised(folder: Path, now: Dataset = NAMED, *, key: str = "row", **then: pl.Series | list[object]) -> CheckContext:
    """A context of rows, and how some of their columns were before."""
    with_column(now, **then).table.write_parquet(folder / "then.parquet")
    section = DataSection(source="now.parquet", target="late", snapshot="then.parquet", key=key)
    return CheckContext(dataset=now, config=Config(section, folder=str(folder)))


def test_a_column_filled_or_changed_later_stops_with_the_counts(tmp_path):
    before = NAMED.table["x1"].scatter(range(0, 2000, 20), None).scatter(range(1, 2000, 40), 0.5)
    [finding] = plugin(revised(tmp_path, x1=before))

    assert (finding.severity, finding.where, finding.measured) == ("stop", "column x1", 150 / 2000)
    assert finding.message == "'x1' changed in 150 of 2,000 rows (7.5%) since the snapshot: 100 were filled, 50 changed"


def test_a_declared_column_warns_and_few_corrections_are_a_note(tmp_path):
    declared = Dataset(name="d", table=NAMED.table, roles=wide(known={"carrier": "request"}).roles)
    before = NAMED.table["carrier"].scatter(range(0, 2000, 20), "HA")
    assert message(plugin, revised(tmp_path, declared, carrier=before)) == ["warn column carrier"]
    assert message(plugin, revised(tmp_path, x1=NAMED.table["x1"].scatter([3], 0.5))) == ["note column x1"]
    assert message(plugin, revised(tmp_path)) == []


def test_only_rows_labeled_since_the_snapshot_count(tmp_path):
    open_then = NAMED.table["late"].scatter(range(1800, 2000), None)
    before = NAMED.table["x1"].scatter(range(1800, 1850), None)
    [finding] = plugin(revised(tmp_path, late=open_then, x1=before))
    assert "changed in 50 of 200 rows (25.0%)" in finding.message


def test_integers_and_floats_of_equal_value_are_equal(tmp_path):
    counted = with_column(NAMED, seats=[150] * 2000)
    assert message(plugin, revised(tmp_path, counted, seats=[150.0] * 2000)) == []


def test_it_cannot_judge_without_a_snapshot_or_common_rows(tmp_path):
    with pytest.raises(NotApplicable, match="no earlier version"):
        plugin(CheckContext(dataset=small()))
    with pytest.raises(NotApplicable, match="0 rows are in the table and in its snapshot"):
        plugin(revised(tmp_path, row=list(range(5000, 7000))))


def test_a_missing_or_repeated_key_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no column 'name' identifies the rows"):
        plugin(revised(tmp_path, key="name"))
    with pytest.raises(DataError, match=r"1,999 rows share their 'row'"):
        plugin(revised(tmp_path, row=[1] * 2000))


@pytest.mark.slow
def test_only_the_columns_written_after_landing_stop(tmp_path):
    """As of July the flights of later days were planned and not flown: real rows, whose outcome came since."""
    now = flights.load().gather_every(4).with_row_index("row")
    flown = pl.col("departs_at") < datetime(2013, 7, 1)
    then = now.with_columns(pl.when(flown).then(name).alias(name) for name in (*flights.OUTCOME, "late"))
    then.write_parquet(tmp_path / "then.parquet")
    section = DataSection(source="now.parquet", target="late", snapshot="then.parquet", key="row")
    roles = Roles(target="late", time="departs_at", groups="date")
    context = CheckContext(
        dataset=Dataset(name="flights", table=now, roles=roles), config=Config(section, folder=str(tmp_path))
    )
    found = plugin(context)

    assert [finding.where for finding in found] == [f"column {name}" for name in flights.OUTCOME]
    assert {finding.severity for finding in found} == {"stop"} and min(finding.measured for finding in found) > 0.99
