"""The program that `make` builds of a package: CSV in, scores out, and messages for what cannot be read."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.deployment.edge.packages import forest_release, write_sources
from tests.engines.made_forests import Shape, made, rows_for

from headway.core.variant import Field, Signature
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees

pytestmark = pytest.mark.slow

FOREST = made(Shape(trees=6, link="sigmoid"), seed=3)
INPUTS = (
    Field(name="a"),
    Field(name='the "b", quoted'),
    Field(name="c", datatype="BYTES", categories=("x", "y, z"), unseen="refused"),
    Field(name="d", refuses=("missing",)),
    Field(name="e"),
)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The program of a model with a category, built by the Makefile of the package."""
    folder = tmp_path_factory.mktemp("edge")
    write_sources(forest_release(FOREST, rows_for(FOREST, 8), signature=Signature(inputs=INPUTS)), folder)
    subprocess.run(["make", "-s", "-C", folder, "CFLAGS=-O1 -Wall -Wextra -Wpedantic -Werror"], check=True)
    assert (folder / "libflights.a").is_file()
    return folder / "flights_cli"


def run(program: Path, text: str) -> tuple[int, list[list[str]], str]:
    """Run the program with this input; return exit code, rows of the output, and messages."""
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=False)
    return done.returncode, list(csv.reader(io.StringIO(done.stdout))), done.stderr


def table(*rows: list[object]) -> str:
    """Rows as CSV, with columns in another order and one that the model does not read."""
    text = io.StringIO()
    csv.writer(text).writerows([["e", "other", *(field.name for field in INPUTS[:4])], *rows])
    return text.getvalue()


def test_rows_have_the_scores_and_decisions_of_the_release(program):
    values = [[0.5, -1.25, 1.0, 0.1, 2.0], [np.nan, 3.0, 0.0, -1e300, np.nan], [0.1, 0.2, np.nan, 1 / 3, 5e-324]]
    names = {0.0: "x", 1.0: "y, z"}
    cells = [["" if value != value else repr(value) for value in row] for row in values]
    rows = [[c[4], "ignored", c[0], c[1], names.get(v[2], ""), c[3]] for v, c in zip(values, cells, strict=True)]
    code, found, error = run(program, table(*rows))
    expected = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.array(values))[:, 0]
    assert code == 0 and error == "" and found[0] == ["score_0", "decision"]
    assert [float(row[0]) for row in found[1:]] == expected.tolist()
    assert [int(row[1]) for row in found[1:]] == (expected >= 0.5).astype(int).tolist()


def test_rows_that_the_release_does_not_answer_are_rejected(program):
    code, found, _ = run(program, table([1, 1, 1, 1, "new", 1], [1, 1, 1, 1, "x", ""], [1, 1, 1, 1, "x", 1]))
    assert code == 0 and found[1:3] == [["", "rejected"]] * 2 and found[3][1] in ("0", "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the header of columns cannot be read"),
        ("a,c\n", "column 'the \"b\", quoted' is missing"),
        (table([1, 1, "one", 1, "x", 1]), "row 1: column 'a' is 'one', not a number"),
        (table([1, 1, 1, 1, "x", 1], [1]), "row 2 has 1 fields, the header 6"),
        (table() + '1,1,"1,1,x,1\n', "row 1 cannot be read"),
        (table() + "1" * (1 + (1 << 20)), "row 1 cannot be read: a line has at most 1048576 bytes"),
        (table([1, 1, "1\x002", 1, "x", 1]), "row 1 cannot be read: a line has at most 1048576 bytes, none of them 0"),
        (table() + "\x00\n", "row 1 cannot be read"),
        (table() + "1,1,1,1,x,1\x00", "row 1 cannot be read"),
        (table() + "1\x00" + "1" * (1 << 20) + "\n", "row 1 cannot be read"),
    ],
)
def test_input_that_cannot_be_read_ends_with_a_message(program, text, message):
    code, _, error = run(program, text)
    assert code == 2 and message in error


def test_scores_that_cannot_be_written_end_with_a_message(program):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([program], input=table(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "the scores cannot be written: No space left" in done.stderr
