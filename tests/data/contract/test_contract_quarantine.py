"""A person releases or discards rows in quarantine, and the decision holds wherever the rows come again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest
from tests.data.contract.test_contract_check import CONTRACT, ROWS

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.errors import DataError, StoreError
from headway.core.plugins import load_state
from headway.core.quarantine import Decision, RowDecision
from headway.data.contract.check import check_contract
from headway.data.contract.quarantine import decide_rows, list_quarantine, load_decisions, read_rows
from headway.data.labels.review import add_correction
from headway.data.open import open_dataset
from headway.data.settings.data import DataSection

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A project whose table has rows 2, 3 (the same key) and 4 (too large) that break its contract."""
    (tmp_path / "contract.toml").write_text(CONTRACT)
    dated = ROWS.with_columns(pl.col("on").str.to_date(), late=pl.Series([0, 1, 0, 1]))
    dated.write_parquet(tmp_path / "table.parquet")
    return Config(DataSection(source="table.parquet", target="late"), folder=str(tmp_path))


@pytest.fixture
def state(config: Config) -> Iterator[State]:
    opened = load_state("sqlite")(config.state)
    yield opened
    opened.close()


def decide(config: Config, state: State, rows: Sequence[int], decision: Decision) -> RowDecision:
    """Decide on rows of the newest file."""
    return decide_rows(config, state, list_quarantine(config)[0].file, rows, decision, who="ann", why="seen on paper")


def quarantined(config: Config) -> list[int]:
    """Check again; return the numbers of the rows that are put aside."""
    found = check_contract(config)
    return [row.row for row in read_rows(config, Path(found.quarantine).name)] if found.quarantine else []


def test_the_files_and_rows_of_quarantine_are_listed(config):
    assert quarantined(config) == [2, 3, 4]
    (file,) = list_quarantine(config)
    assert (file.source, file.n_rows) == ("table", 3)
    assert file.at > "2026"
    last = read_rows(config, file.file, start=2)
    assert [(row.row, row.reason, row.values["size"]) for row in last] == [(4, "'size' is above 10", "99.0")]
    assert read_rows(config, file.file)[0].values["size"] is None


def test_a_released_row_passes_from_now_on(config, state, tmp_path):
    quarantined(config)
    decided = decide(config, state, [4], "released")
    assert (decided.who, decided.why, decided.numbers) == ("ann", "seen on paper", (4,))
    assert [row.row for row in read_rows(config, list_quarantine(config)[0].file)] == [2, 3]
    found = check_contract(config, passed=tmp_path / "passed.parquet")
    assert (found.n_rows, found.n_failing) == (4, 2)
    assert pl.read_parquet(tmp_path / "passed.parquet")["id"].to_list() == [1, 4]
    assert quarantined(config) == [2, 3]


def test_a_discarded_row_is_left_out_of_checks_and_of_the_data(config, state, tmp_path):
    quarantined(config)
    decide(config, state, [3], "discarded")
    assert quarantined(config) == [3]  # row 4 of before: the key of row 2 is unique now
    opened = open_dataset(config)
    assert opened.table["id"].to_list() == [1, 2, 4]
    assert opened.provenance["rows.discarded"] == "1 rows in quarantine"
    assert len(pl.read_parquet(tmp_path / "table.parquet")) == 4


def test_the_number_of_a_row_is_that_of_the_opened_table_after_a_discard(config, state):
    quarantined(config)
    decide(config, state, [2], "discarded")
    add_correction(config, state, row=3, to="0", who="ben", why="a test")
    assert open_dataset(config).table.select("id", "late").rows() == [(1, 0), (2, 0), (4, 0)]


def test_the_last_decision_on_a_row_counts_and_a_changed_row_is_checked_again(config, state, tmp_path):
    quarantined(config)
    decide(config, state, [4], "released")
    file = tmp_path / "rows.parquet"
    table = pl.read_parquet(tmp_path / "table.parquet")
    table.with_columns(size=pl.col("size") + 1).write_parquet(file)
    changed = check_contract(config, file)
    assert [row.row for row in read_rows(config, Path(changed.quarantine).name)] == [2, 3, 4]
    decide(config, state, [], "discarded")
    assert load_decisions(config).released == load_decisions(config, state).released != frozenset()
    assert check_contract(config, file).n_failing == 0


def test_a_file_larger_than_memory_knows_the_decisions(config, state, tmp_path):
    csv = tmp_path / "rows.csv"
    ROWS.write_csv(csv, null_value="")
    check_contract(config, csv)
    decide(config, state, [4], "released")
    decide(config, state, [2, 3], "discarded")
    assert list_quarantine(config) == []
    found = check_contract(config, csv, passed=tmp_path / "passed.parquet")
    assert (found.n_failing, found.findings) == (0, ())
    assert pl.read_parquet(tmp_path / "passed.parquet")["id"].to_list() == ["1", "4"]


@pytest.mark.parametrize("file", ["../secret.parquet", "absent.parquet", ""])
def test_only_files_of_quarantine_are_read(config, file):
    with pytest.raises(DataError, match="is in quarantine"):
        read_rows(config, file)


def test_a_decision_without_a_reason_or_on_absent_rows_changes_nothing(config, state):
    quarantined(config)
    file = list_quarantine(config)[0].file
    with pytest.raises(DataError, match="needs a reason"):
        decide_rows(config, state, file, [2], "released", who="ann", why=" ")
    with pytest.raises(DataError, match="row 1 is not in quarantine"):
        decide_rows(config, state, file, [1, 2], "released", who="ann", why="x")
    assert list_quarantine(config)[0].n_rows == 3
    assert state.records("row_decision") == []


def test_rows_that_stay_are_as_old_as_they_were(config, state):
    quarantined(config)
    path = config.state / "quarantine/model" / list_quarantine(config)[0].file
    written = path.stat().st_mtime_ns
    decide(config, state, [2], "discarded")
    assert path.stat().st_mtime_ns == written


def test_a_damaged_file_is_an_error_that_names_it(config):
    folder = config.state / "quarantine/model"
    folder.mkdir(parents=True)
    (folder / "1-1-1.table.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="cannot be read"):
        list_quarantine(config)


def test_nested_values_have_a_digest_too(config, state, tmp_path):
    file = tmp_path / "nested.parquet"
    ROWS.with_columns(seen=pl.Series([["a"], ["b"], [], ["c", "d"]])).write_parquet(file)
    check_contract(config, file)
    assert len(decide(config, state, [], "discarded").rows) == 3
    assert check_contract(config, file).n_failing == 0
