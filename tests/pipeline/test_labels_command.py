from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.projects import write

from headway import pipeline
from headway.cli import main as cli
from headway.data.open import open_dataset
from headway.registry.project import open_project

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The small project, in which the labels of every 40th row were turned."""
    folder = write(tmp_path)
    file = folder / "table.parquet"
    table = pl.read_parquet(file).with_row_index()
    turned = pl.when(pl.col("index") % 40 == 0).then(1 - pl.col("late")).otherwise("late")
    table.with_columns(late=turned).drop("index").write_parquet(file)
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", *map(str, words)])
    assert ended.value.code == cli.PASS
    return capsys.readouterr().out


def test_suspects_are_ranked_counted_and_kept(project, capsys):
    told = json.loads(asked(capsys, "suspects", "--project", project, "--json"))
    rows = [each["row"] - 1 for each in told["rows"]]
    assert sum(row % 40 == 0 for row in rows[:200]) > 3 * 200 / 40
    assert 0 < told["count"]["low"] < told["count"]["value"] < told["count"]["high"]
    assert sum(each["value"] for each in told["by_class"]) == pytest.approx(told["count"]["value"])
    assert len(open_project(project).state.records("suspects")) == 1


def test_a_person_reads_the_count_the_rows_and_the_command_that_sets_one_right(project, capsys):
    told = asked(capsys, "suspects", "--top", 3, "--project", project)
    assert "of 7,200 labels look wrong" in told
    assert told.count("  row ") == 3
    assert "headway labels correct --row" in told


def test_a_correction_is_in_the_data_of_the_next_command(project, capsys):
    before = open_dataset(open_project(project).config).table["late"][40]
    asked(capsys, "correct", "--row", 41, "--to", 1 - before, "--why", "seen", "--who", "ada", "--project", project)
    assert open_dataset(open_project(project).config).table["late"][40] == 1 - before


def test_a_correction_without_a_row_tells_what_to_write(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", "correct", "--project", str(project)])
    assert ended.value.code == cli.USAGE
    assert "headway labels correct --row 17" in capsys.readouterr().err


def test_agreement_of_a_file_is_shown_kept_and_read_by_the_checks(project, capsys, tmp_path):
    lines = [
        f"k{item},{who},{(item + (who == 'bo' and item % 3 == 0)) % 2}" for item in range(60) for who in ("ada", "bo")
    ]
    (tmp_path / "a.csv").write_text("\n".join(["key,who,label", *lines]))
    told = asked(capsys, "agree", tmp_path / "a.csv", "--project", project)
    assert "2 annotators, 60 items" in told
    assert "ada & bo" in told
    opened = open_project(project)
    codes = [each.code for each in pipeline.check(opened, open_dataset(opened.config))]
    assert "D036" in codes


def test_a_delay_of_nobody_is_an_error_with_the_mend(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", "delay", "--project", str(project)])
    assert ended.value.code == cli.USAGE
    assert "headway serve small@live" in capsys.readouterr().err
