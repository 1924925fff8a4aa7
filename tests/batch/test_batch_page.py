"""The examples of docs/batch.md are the inputs and outputs of `headway predict`."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import msgspec
import pytest
from tests.batch.scoring import CARRIER, scoring_project
from tests.house.pages import code_blocks, read

from headway.cli import main as cli
from headway.core import plugins
from headway.core.variant import Field, Signature

PAGE = read("docs/batch.md")
ROWS, SCORES, REFUSED = code_blocks("docs/batch.md", "csv")


@pytest.fixture
def exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of the page's command, run on the page's file."""
    carrier = Field(name="carrier", datatype="BYTES", categories=CARRIER.categories, unseen="other")
    scoring_project(tmp_path, signature=Signature(inputs=(Field(name="distance"), carrier)))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flights.csv").write_text(
        ROWS.replace("a-2,,", "a-2,1,")
    )  # the echo has no prediction for a missing value
    (command,) = re.findall(r"`headway (predict flights@live [^`]*)`", PAGE)
    with pytest.raises(SystemExit) as ended:
        cli.main(command.split())
    return int(str(ended.value.code))


@pytest.mark.slow
def test_the_command_of_the_page_writes_the_files_of_the_page(exit_code):
    (documented,) = re.findall(r"--keep key` ends with (\d)", PAGE)
    found = list(csv.reader(Path("scores.csv").read_text().splitlines()))
    promised = list(csv.reader(SCORES.splitlines()))
    assert exit_code == int(documented)
    assert [row[:2] for row in found] == [row[:2] for row in promised]
    assert found[0] == promised[0] and found[3] == promised[3] and all(float(row[2]) >= 0 for row in found[1:3])
    assert Path("scores.csv.refused.csv").read_text() == REFUSED


@pytest.mark.slow
def test_the_output_files_and_the_receipt_are_those_of_the_page(exit_code):
    named = set(re.findall(r"^\| `(scores\.csv[\w.]*)` \|", PAGE, re.MULTILINE))
    assert {path.name for path in Path().glob("scores*")} == named
    receipt = msgspec.json.decode(Path("scores.csv.receipt.json").read_bytes())["record"]
    assert (receipt["rows"], receipt["refused"], receipt["columns"]) == (3, 1, {"distance": 1})


def test_every_format_has_its_row():
    assert sorted(re.findall(r"^\| `\.(\w+)` \|", PAGE, re.MULTILINE)) == plugins.names("format")
