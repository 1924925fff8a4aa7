"""The section on data use: columns, personal data, retention, and erasures."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.monitoring.rollouts import project
from tests.reporting.stories import flights

from headway.core.assessment import Assessment
from headway.core.erasure import Erased, Erasure, Residual
from headway.core.evidence import Finding
from headway.reporting.page import render_report
from headway.reporting.read_report_data import NOT_READ, read_data_use
from headway.reporting.report_data import ColumnUse, DataUse
from headway.reporting.section import build_sections

TOML = """
[project]
name = "flights"
[data]
source = "t.parquet"
target = "late"
groups = "day"
sensitive_features = ["carrier"]
ignore = ["tail"]
[data.known]
arrived = "outcome"
[personal]
drop = ["email", "mail"]
retention = "90d"
[trust]
publisher_key = "keys/publisher.pem"
"""
DROPPED = Finding(code="D052", severity="note", message="'mail' was dropped when it was opened", where="column mail")
SEEN = Assessment(
    name="flights",
    at="2026-11-27T10:00:00Z",
    by="ann",
    headway="1",
    number=1,
    source="t.parquet",
    dataset="sha256:0",
    n_rows=10,
    n_groups=2,
    until="",
    columns=dict.fromkeys(("hour", "carrier", "day", "late", "tail", "arrived", "spare"), "f8"),
    settings={},
    check_runs=(),
    findings=(DROPPED,),
)


def erasure(number: int, **fields: object) -> Erasure:
    """Return a completed erasure of ten rows."""
    erased = Erased(location="log/flights", rows=10, files=2, before="a", after="b")
    done = Erasure(
        name="flights",
        number=number,
        before="",
        who="ann",
        why="",
        begun_at="2026-11-26T10:00:00Z",
        done_at="2026-11-27T10:00:00Z",
        erased=(erased,),
    )
    return replace(done, **fields)


USE = DataUse(
    source="t.parquet",
    columns=(
        ColumnUse(name="hour", purpose="read by the model"),
        ColumnUse(name="mail", purpose=NOT_READ, personal="was dropped"),
    ),
    n_read=1,
)


def conclusions(**fields: object) -> str:
    """Return the conclusions of the section as one text."""
    return " ".join(build_sections(replace(flights(), data_use=replace(USE, **fields)))["data_use"].conclusions)


def test_each_column_has_its_use_and_its_personal_data(tmp_path):
    opened = project(tmp_path, toml=TOML)
    opened.save(SEEN)
    use = read_data_use(opened, ("hour", "carrier"))

    assert {column.name: column.purpose for column in use.columns} == {
        "hour": "read by the model",
        "carrier": "read by the model, groups of people, for fairness",
        "day": "groups of dependent rows, for intervals",
        "late": "target",
        "tail": "none: it is ignored",
        "arrived": "none: it is known only after the outcome",
        "spare": NOT_READ,
        "mail": NOT_READ,
    }
    assert [column.personal for column in use.columns if column.personal] == [DROPPED.message]
    assert (use.n_read, use.retention, use.checked_at[:10]) == (2, "90d", "2026-11-27")


@pytest.mark.slow
def test_before_a_check_the_section_says_so(tmp_path):
    use = read_data_use(project(tmp_path, toml=TOML), ("hour",))
    assert use.checked_at == "" and "mail" not in {column.name for column in use.columns}
    assert "The data has not been checked for personal data yet; try: headway check." in conclusions()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "The model reads 1 of 2 columns."),
        ({"checked_at": "2026-11-27T10"}, "on 2026-11-27 found or knew personal data in 1 columns: mail."),
        ({"checked_at": "2026-11-27", "columns": USE.columns[:1]}, "found no personal data by format. Names and"),
        ({}, "No retention period is set"),
        ({"retention": "90d"}, "kept for 90d"),
        ({}, "Nothing has been erased yet."),
        (
            {"erasures": (erasure(1, subject="x"), erasure(2, subject="x"), erasure(3, subject="y"))},
            "On request, 2 keys with 30 rows were erased, the last on 2026-11-27.",
        ),
        (
            {"erasures": (erasure(1, subject="x", residuals=(Residual(location="releases", times=1, why="signed"),)),)},
            "the last on 2026-11-27; 1 erasures left data",
        ),
        ({"erasures": (erasure(1, older_than="2026-08-01"),)}, "Because of their age, 10 rows were erased"),
    ],
)
def test_conclusions(fields, message):
    assert message in conclusions(**fields)


@pytest.mark.slow
def test_the_report_shows_the_columns():
    page = render_report(replace(flights(), data_use=USE))
    assert "Use of the data" in page and "was dropped" in page


def test_a_report_without_data_use_has_no_such_section():
    assert "data_use" not in build_sections(flights())
