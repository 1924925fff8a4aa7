from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.projects import write

from headway import pipeline
from headway.cli import main as cli
from headway.data.open import open_dataset
from headway.registry.project import open_project
from headway.storage import segments, traffic

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return the small project with the label of every 40th row flipped."""
    folder = write(tmp_path)
    file = folder / "table.parquet"
    table = pl.read_parquet(file).with_row_index()
    flipped = pl.when(pl.col("index") % 40 == 0).then(1 - pl.col("late")).otherwise("late")
    table.with_columns(late=flipped).drop("index").write_parquet(file)
    return folder


def run_labels(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", *map(str, words)])
    assert ended.value.code == cli.PASS
    return capsys.readouterr().out


def test_suspects_are_ranked_counted_and_saved(project, capsys):
    result = json.loads(run_labels(capsys, "suspects", "--project", project, "--json"))
    rows = [suspect["row"] - 1 for suspect in result["rows"]]
    assert sum(row % 40 == 0 for row in rows[:200]) > 3 * 200 / 40
    assert 0 < result["count"]["low"] < result["count"]["value"] < result["count"]["high"]
    assert sum(share["value"] for share in result["by_class"]) == pytest.approx(result["count"]["value"])
    assert len(open_project(project).state.records("suspects")) == 1


def test_the_output_shows_the_count_the_rows_and_the_command_that_corrects_one(project, capsys):
    result = run_labels(capsys, "suspects", "--top", 3, "--project", project)
    assert "of 7,200 labels look wrong" in result
    assert result.count("  row ") == 3
    assert "headway labels correct --row" in result


def test_a_correction_is_applied_by_the_next_command(project, capsys):
    before = open_dataset(open_project(project).config).table["late"][40]
    run_labels(
        capsys, "correct", "--row", 41, "--to", 1 - before, "--why", "seen", "--who", "ada", "--project", project
    )
    assert open_dataset(open_project(project).config).table["late"][40] == 1 - before


def test_a_correction_without_a_row_is_an_error_with_a_hint(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", "correct", "--project", str(project)])
    assert ended.value.code == cli.USAGE
    assert "headway labels correct --row 17" in capsys.readouterr().err


def test_agreement_of_a_file_is_shown_saved_and_read_by_the_checks(project, capsys, tmp_path):
    lines = [
        f"k{item},{who},{(item + (who == 'bo' and item % 3 == 0)) % 2}" for item in range(60) for who in ("ada", "bo")
    ]
    (tmp_path / "a.csv").write_text("\n".join(["key,who,label", *lines]))
    result = run_labels(capsys, "agree", tmp_path / "a.csv", "--project", project)
    assert "2 annotators, 60 items" in result
    assert "ada & bo" in result
    opened = open_project(project)
    codes = [finding.code for finding in pipeline.check(opened, open_dataset(opened.config))]
    assert "D036" in codes


def test_a_label_delay_without_requests_is_an_error_with_a_hint(project, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["labels", "delay", "--project", str(project)])
    assert ended.value.code == cli.USAGE
    assert "headway serve small@live" in capsys.readouterr().err


def test_keys_of_no_logged_request_are_counted_and_named(project, capsys, tmp_path):
    columns = {"key": ["a", "b"], "request": np.arange(2), "at_us": np.arange(2)}
    segments.save(traffic.log_folder(project / ".headway", "small", "sha256:" + "1" * 64), columns)

    def add(*keys: str) -> tuple[int, str]:
        (tmp_path / "l.csv").write_text("\n".join(["key,label", *(f"{key},1" for key in keys)]))
        with pytest.raises(SystemExit) as ended:
            cli.main(["labels", "add", str(tmp_path / "l.csv"), "--project", str(project)])
        return ended.value.code, capsys.readouterr().out

    assert add("a", "b") == (cli.PASS, "small: stored 2 labels\n")
    code, out = add("a", "A", "c")
    assert (code, "2 of 3 keys belong to no logged request: A, c" in out) == (cli.PASS, True)
    code, out = add(*(f"x{number}" for number in range(9)))
    assert (code, "none of 9 keys is that of a logged request: x0, x1, x2, x3, x4 ..." in out) == (cli.FAIL, True)


def test_a_confirmed_label_is_suspected_no_more(project, capsys):
    first = json.loads(run_labels(capsys, "suspects", "--project", project, "--json"))["rows"][0]
    done = run_labels(
        capsys, "confirm", "--row", first["row"], "--why", "seen on paper", "--who", "ann", "--project", project
    )
    assert done.strip() == f"row {first['row']:,}: the label {first['given_label']} confirmed by ann"
    again = json.loads(run_labels(capsys, "suspects", "--project", project, "--json"))["rows"]
    assert first["row"] not in [suspect["row"] for suspect in again]


def test_a_confirmation_without_a_row_is_an_error_with_a_hint(project, capsys):
    with pytest.raises(SystemExit):
        cli.main(["labels", "confirm", "--why", "x", "--project", str(project)])
    assert "headway labels confirm --row" in capsys.readouterr().err
