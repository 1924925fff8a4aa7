"""Mistakes in data and settings: the command line shows what is wrong, where, and a hint."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.projects import TOML, table, write

from headway.cli import main as cli

pytestmark = pytest.mark.slow

COLUMN = pl.col


@pytest.fixture
def run_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs a command on the small project and returns its exit code and output on one line."""

    def _run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--project", str(tmp_path)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), " ".join((shown.out + shown.err).split())

    return _run


def write_project(
    folder: Path, changed: pl.DataFrame | None = None, *, edits: tuple[tuple[str, str], ...] = ()
) -> None:
    """Write the small project with another table, or with edits of its headway.toml."""
    toml = TOML
    for old, new in edits:
        assert old in toml
        toml = toml.replace(old, new)
    write(folder, toml)
    if changed is not None:
        changed.write_parquet(folder / "table.parquet")


def with_column(**columns: pl.Expr) -> pl.DataFrame:
    return table().with_columns(**columns)


LATE = 'target = "late"'
TEST = '["2013-03-22", "2013-05-01"]'
TRAIN = '["2013-01-01", "2013-02-10"]'
SETTINGS = [
    (LATE, 'targe = "late"', "unknown setting 'data.targe' at: {folder}/headway.toml:6 try: nearest: data.target"),
    ("[data]\n", "[dota]\n", "unknown setting 'dota.source' at: {folder}/headway.toml:5 try: nearest: data.source"),
    ("[project]\n", "name = 1\n[project]\n", "key 'name' stands outside a section at: {folder}/headway.toml:2"),
    ("port = 0", 'port = "high"', "serve.port: expected `int`, got `str` at: {folder}/headway.toml:27"),
    (
        "at_most = 0.01",
        "at_mst = 0.01",
        "policy.release[0]: object contains unknown field `at_mst` at: {folder}/headway.toml:30 try: nearest: at_most",
    ),
    (
        '"roc_auc.drop"',
        '"roc_acu.drop"',
        "no measure is called 'roc_acu.drop' at: {folder}/headway.toml:29 try: nearest: roc_auc.drop",
    ),
    (LATE, f'{LATE}\ntask = "binray"', "no task 'binray' at: [data] task try: task = \"binary\""),
    (LATE, "", 'no target is declared at: [data] target try: target = "COLUMN"'),
    ('source = "table.parquet"', "", "no data source is declared at: [data] source"),
    ("table.parquet", "tabel.parquet", "no file 'tabel.parquet' at: {folder}/tabel.parquet"),
    ("table.parquet", "table.xlsx", "cannot read 'table.xlsx' at: [data] source try: one of .parquet, .csv"),
    ("table.parquet", "mine:laod", "cannot find 'mine:laod'"),
    ('"mine:train"', '"mine:trian"', "cannot find 'mine:trian'"),
    ("2013-02-10", "2013-02-31", "period 'train' is ['2013-01-01', '2013-02-31'] at: [split]"),
    (TRAIN, '["2013-01-01", "2013-03-10"]', "period 'validation' starts before 'train' ends"),
    (TEST, '["2015-03-22", "2015-05-01"]', "period 'test' has no rows at: at in [2015-03-22"),
]
ROLES = [
    (LATE, 'target = "lat"', "lacks: lat at: {columns} try: late in place of lat"),
    ('groups = "day"', 'groups = "Day"', "lacks: Day at: {columns} try: day in place of Day"),
    ('slices = ["carrier"]', 'slices = ["airport"]', "lacks: airport at: {columns} try: correct [data]"),
    ('hour = "request"', 'houer = "request"', "lacks: houer at: {columns} try: hour in place of houer"),
    (
        'time = "at"',
        'time = "hour"',
        "time column 'hour' is not a time: {hour} in row 1 at: column hour, Int64 try: a date",
    ),
    (
        'time = "at"',
        'time = "carrier"',
        "time column 'carrier' is not a time: '{first}' in row 1 at: column carrier, String",
    ),
    (
        'hour = "request"',
        'hour = "requst"',
        '\'requst\' is not a time at: [data.known] hour = "requst" try: hour = "request"',
    ),
    (LATE, 'target = "carrier"', "target 'carrier' is String, and task 'binary' needs a number at: values: "),
]
YES_OR_NO = pl.when(COLUMN("late") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
TABLES = {
    "no rows": (table().clear(), "the table of 'table.parquet' has no rows at: table.parquet"),
    "no group": (
        with_column(day=pl.when(COLUMN("hour") < 23).then(COLUMN("day"))),
        "of 7,200 rows have no group 'day' at: row ",
    ),
    "no time": (
        with_column(at=pl.when(COLUMN("hour") < 23).then(COLUMN("at"))),
        "of 7,200 rows have no time 'at' at: row ",
    ),
    "no iso time": (
        with_column(at=COLUMN("at").dt.to_string("%d/%m/%Y")),
        "time column 'at' is not a time: '01/01/2013' in row 1",
    ),
    "text target": (
        with_column(late=YES_OR_NO),
        "target 'late' is String, and task 'binary' needs a number at: values: no, yes try: [data] positive = \"yes\"",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), SETTINGS)
def test_a_wrong_setting_is_named_with_its_location(run_command, tmp_path, old, new, message):
    write_project(tmp_path, edits=((old, new),))
    code, shown = run_command("optimize")
    assert message.format(folder=tmp_path) in shown
    assert code == cli.USAGE


@pytest.mark.parametrize("command", ["check", "optimize"])
@pytest.mark.parametrize(("old", "new", "message"), ROLES)
def test_a_role_of_a_wrong_column_is_an_error_that_lists_the_columns(run_command, tmp_path, command, old, new, message):
    write_project(tmp_path, edits=((old, new),))
    code, shown = run_command(command)
    columns = "table.parquet has: at, day, hour, wind, carrier, late"
    assert message.format(columns=columns, first=table()["carrier"][0], hour=table()["hour"][0]) in shown
    assert code == cli.USAGE


@pytest.mark.parametrize("command", ["check", "optimize"])
@pytest.mark.parametrize("name", TABLES)
def test_an_unusable_table_is_refused_with_the_reason(run_command, tmp_path, command, name):
    changed, message = TABLES[name]
    write_project(tmp_path, changed)
    code, shown = run_command(command)
    assert message in shown
    assert code == cli.USAGE


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (with_column(late=pl.lit(1)), "'late' has one class only: 1 (7,200 rows)"),
        (with_column(late=COLUMN("late") + 1), "'late' has 2 values where a binary target has 0 and 1: 1 ("),
        (with_column(late=pl.lit(None, dtype=pl.Int8)), "no row has an outcome: 'late' is empty"),
    ],
    ids=["one class", "other values", "no outcome"],
)
def test_a_target_that_cannot_be_learned_fails_the_check_and_is_not_trained_on(run_command, tmp_path, changed, message):
    write_project(tmp_path, changed)
    code, shown = run_command("check")
    assert (code, "D007" in shown, message in shown) == (cli.FAIL, True, True)
    code, shown = run_command("optimize")
    assert (code, "refused to train: D007" in shown) == (cli.USAGE, True)


def test_a_constant_target_of_a_regression_fails_the_check(run_command, tmp_path):
    write_project(tmp_path, with_column(late=pl.lit(2.5)), edits=((LATE, f'{LATE}\ntask = "regression"'),))
    code, shown = run_command("check")
    assert "'late' has one value only: 2.5 (7,200 rows)" in shown
    assert code == cli.FAIL


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (pl.int_range(pl.len()), "each of 7,200 rows is its own group in 'day': groups make no difference"),
        (pl.lit(1), "all rows are one group in 'day': no method gives a valid interval below 20"),
    ],
    ids=["of one", "all in one"],
)
def test_groups_that_allow_no_interval_leave_the_check_undecided(run_command, tmp_path, groups, message):
    write_project(tmp_path, with_column(day=groups))
    code, shown = run_command("check")
    assert (code, "D006" in shown, message in shown) == (cli.UNDECIDED, True, True)


def test_numbers_with_a_word_among_them_are_reported_and_a_setting_fixes_them(run_command, tmp_path):
    mixed = with_column(
        wind=pl.when(COLUMN("hour") == 3).then(pl.lit("calm")).otherwise(COLUMN("wind").cast(pl.String))
    )
    write_project(tmp_path, mixed)
    _, shown = run_command("check")
    assert "D008" in shown and "'wind' is read as strings" in shown

    write_project(tmp_path, mixed, edits=((LATE, f'{LATE}\nmissing = ["calm"]'),))
    assert "'wind' is read as strings" not in run_command("check")[1]


def test_a_target_of_two_strings_passes_once_its_positive_class_is_declared(run_command, tmp_path):
    write_project(
        tmp_path,
        with_column(late=YES_OR_NO),
        edits=((LATE, f'{LATE}\npositive = "yes"'),),
    )
    assert run_command("check")[0] == cli.PASS


def test_a_terminal_gets_no_control_character_of_a_file(run_command, tmp_path):
    (tmp_path / "rows.csv").write_text("a\x1b[2J,b\n1,2\n")
    (tmp_path / "model.txt").write_text("tree\n")
    files = str(tmp_path / "model.txt"), "--data", str(tmp_path / "rows.csv")
    code, shown = run_command("optimize", *files, "--target", "y")
    assert code == cli.USAGE and "\x1b" not in shown and "a\\x1b[2J" in shown


def test_a_broken_csv_file_is_reported_with_the_line(run_command, tmp_path):
    write_project(tmp_path, edits=(("table.parquet", "table.csv"),))
    (tmp_path / "table.csv").write_text("at,late\n2013-01-01,1\n2013-01-02,0,7\n")
    code, shown = run_command("check")
    assert f"a row has 3 fields, where 'table.csv' names 2 columns: 2013-01-02,0,7 at: {tmp_path}/table.csv:3" in shown
    assert code == cli.USAGE


def test_a_database_query_is_checked_like_any_table(run_command, tmp_path):
    write_project(tmp_path, edits=(("table.parquet", 'sqlite:///flights.db"\nquery = "SELECT * FROM flights'),))
    with closing(sqlite3.connect(tmp_path / "flights.db")) as database, database:
        rows = table().with_columns(COLUMN("at").cast(pl.String), COLUMN("day").cast(pl.String))
        database.execute("CREATE TABLE flights (at, day, hour INTEGER, wind REAL, carrier, late INTEGER)")
        database.executemany("INSERT INTO flights VALUES (?, ?, ?, ?, ?, ?)", rows.rows())
    assert run_command("check")[0] == cli.PASS

    write_project(tmp_path, edits=(("table.parquet", 'sqlite:///flights.db"\nquery = "SELECT * FROM fligths'),))
    code, shown = run_command("check")
    assert "SQLite refuses the query: no such table: fligths" in shown
    assert code == cli.USAGE
