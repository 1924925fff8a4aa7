"""The commands of feature views: materialise, push from files and the standard input, and what they refuse."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace
from tests.features.test_materialize import VIEW, served, table
from tests.features.test_push import line

from headway.cli import main as cli
from headway.core.feature_view import Aggregation, Feature, FeatureSource, FeatureView
from headway.features import catalog
from headway.features.expressions import parse_expression
from headway.features.online.sqlite import SqliteOnlineStore
from headway.storage.state.sqlite import Sqlite


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    table(("JFK", 1, 1.0, "clear", True), ("EWR", 2, 2.0, "rain", False)).write_parquet(tmp_path / "weather.parquet")
    (tmp_path / "features.toml").touch()
    view = replace(VIEW, version=0)
    with closing(Sqlite(tmp_path / ".headway")) as state:
        trip = FeatureView(name="trip", features=(Feature(name="even", expression=parse_expression("x + 1")),))
        catalog.apply(state, [view, trip], who="ann")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["features", *words])
    out, err = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, out, err


def rows(project: Path, *keys: str) -> list[list[object]]:
    with closing(SqliteOnlineStore(project / ".headway/online")) as store:
        return served(store, *keys, view=replace(VIEW, version=1))


def test_materialize_writes_all_views_with_rows_and_then_what_is_new(project, capsys):
    code, out, _ = run(capsys, "materialize")
    assert code == cli.PASS and out == "weather@v1: full, 2 entities of 2 rows, 2 stored\n"
    assert rows(project, "JFK") == [[1.0, "clear", 1.0]]
    assert run(capsys, "materialize", "weather@v1", "--full")[1].startswith("weather@v1: full")
    code, out, _ = run(capsys, "materialize", "weather", "--from", "2026-01-02", "--to", "2026-01-03", "--json")
    assert json.loads(out)[0]["mode"] == "backfill" and json.loads(out)[0]["rows"] == 1


def test_windows_are_materialised_next_to_rows(project, capsys):
    count = Feature(name="n", dtype="integer", aggregation=Aggregation(function="count", window_s=86_400))
    source = FeatureSource(location="weather.parquet", event_time="at")
    mixed = FeatureView(name="mixed", entities=("origin",), source=source, features=(count, Feature(name="temp")))
    with closing(Sqlite(project / ".headway")) as state:
        catalog.apply(state, [mixed, replace(mixed, name="counts", features=(count,))], who="ann")
    out = json.loads(run(capsys, "materialize", "mixed", "counts", "--json")[1])
    assert [(one["entities"], one.get("windows")) for one in out] == [(2, 0), (0, 0)], "events are too old"
    with closing(SqliteOnlineStore(project / ".headway/online")) as store:
        assert store.tables() == {"counts.v1.windows": 0, "mixed.v1": 2, "mixed.v1.windows": 0}


def test_an_older_version_with_a_table_goes_on(project, capsys):
    run(capsys, "materialize")
    with closing(Sqlite(project / ".headway")) as state:
        catalog.apply(state, [replace(VIEW, version=0, ttl_s=60.0)], who="ann")
    out = run(capsys, "materialize")[1]
    assert "weather@v1: incremental" in out and "weather@v2: full" in out


def test_the_task_of_headway_run_materialises_what_is_new(project, capsys):
    for count in (2, 1):
        with pytest.raises(SystemExit) as ended:
            cli.main(["run", "--task", "materialize"])
        assert ended.value.code == cli.PASS
        assert f"weather@v1: {count} of {count} entities" in capsys.readouterr().out
    assert rows(project, "EWR") == [[2.0, "rain", 0.0]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("materialize", "--from", "soon"), "'soon' is not a time"),
        (("materialize", "trip"), "is computed from the request"),
        (("materialize", "wether"), "nearest: weather"),
        (("push",), "a push needs a view and a file"),
        (("push", "weather", "absent.jsonl"), "the rows cannot be read"),
    ],
)
def test_a_mistake_is_an_error_with_a_hint(project, capsys, words, message):
    code, _, err = run(capsys, *words)
    assert code not in (cli.PASS, cli.FAIL) and message in err


def test_push_takes_lines_parquet_and_the_standard_input_and_keeps_what_it_refuses(project, capsys, monkeypatch):
    (project / "rows.jsonl").write_bytes(line() + line(temp="warm"))
    code, out, err = run(capsys, "push", "weather", "rows.jsonl", "--refused", "refused.jsonl")
    assert code == cli.FAIL and out == "weather@v1: 2 rows, 1 stored, 1 refused\n"
    assert "line 2: a value is not a number: warm" in err
    (kept,) = map(json.loads, (project / "refused.jsonl").read_text().splitlines())
    assert kept["number"] == 2 and kept["line"] == line(temp="warm").decode().strip()
    table(("LGA", 3, 3.0, "fog", None)).write_parquet(project / "rows.parquet")
    assert run(capsys, "push", "weather", "rows.parquet")[0] == cli.PASS
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line(origin="BOS"))))
    assert run(capsys, "push", "weather")[0] == cli.PASS
    assert rows(project, "JFK", "LGA", "BOS") == [[1.5, "rain", 1.0], [3.0, "fog", None], [1.5, "rain", 1.0]]
    assert pl.read_parquet("rows.parquet").height == 1
