"""What report and card say of the use of data: columns, people, how long, and who was forgotten."""

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
SAYS = Finding(code="D052", severity="note", message="'mail' was dropped when it was opened", where="column mail")
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
    findings=(SAYS,),
)


def erasure(number: int, **fields: object) -> Erasure:
    """One that was done, of ten rows."""
    place = Erased(location="log/flights", rows=10, files=2, before="a", after="b")
    done = Erasure(
        name="flights",
        number=number,
        before="",
        who="ann",
        why="",
        begun_at="2026-11-26T10:00:00Z",
        done_at="2026-11-27T10:00:00Z",
        erased=(place,),
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


def told(**fields: object) -> str:
    """What the section says, as one text."""
    return " ".join(build_sections(replace(flights(), data_use=replace(USE, **fields)))["data_use"].conclusions)


def test_each_column_is_told_with_its_use_and_what_became_of_it(tmp_path):
    opened = project(tmp_path, toml=TOML)
    opened.save(SEEN)
    use = read_data_use(opened, ("hour", "carrier"))

    assert {each.name: each.purpose for each in use.columns} == {
        "hour": "read by the model",
        "carrier": "read by the model, groups of people, between whom gaps are measured",
        "day": "rows that share fate, for intervals",
        "late": "what is predicted",
        "tail": "nothing: it is ignored",
        "arrived": "nothing: it is known only after the outcome",
        "spare": NOT_READ,
        "mail": NOT_READ,
    }
    assert [each.personal for each in use.columns if each.personal] == ["was dropped when it was opened"]
    assert (use.n_read, use.retention, use.looked_at[:10]) == (2, "90d", "2026-11-27")


def test_before_a_check_it_says_that_nobody_looked(tmp_path):
    use = read_data_use(project(tmp_path, toml=TOML), ("hour",))
    assert use.looked_at == "" and "mail" not in {each.name for each in use.columns}
    assert "Nobody has looked for personal data in it yet: headway check." in told()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "The model reads 1 of 2 columns."),
        ({"looked_at": "2026-11-27T10"}, "On 2026-11-27 personal data was found or declared in 1 columns: mail."),
        ({"looked_at": "2026-11-27", "columns": USE.columns[:1]}, "no personal data was found by form. Names and"),
        ({}, "Nobody has set an end to how long"),
        ({"retention": "90d"}, "kept for 90d"),
        ({}, "Nobody was forgotten yet."),
        (
            {"erasures": (erasure(1, subject="x"), erasure(2, subject="x"), erasure(3, subject="y"))},
            "On request 2 keys were forgotten, 30 rows in all, the last on 2026-11-27.",
        ),
        (
            {"erasures": (erasure(1, subject="x", residuals=(Residual(location="releases", times=1, why="signed"),)),)},
            "the last on 2026-11-27; of 1 erasures something stays",
        ),
        ({"erasures": (erasure(1, older_than="2026-08-01"),)}, "For their age 10 rows were erased"),
    ],
)
def test_sentences_say_what_is_known_and_what_is_not(fields, message):
    assert message in told(**fields)


@pytest.mark.slow
def test_the_report_shows_the_columns():
    page = render_report(replace(flights(), data_use=USE))
    assert "What data is used for" in page and "was dropped" in page


def test_a_story_of_which_nobody_read_the_data_has_no_such_section():
    assert "data_use" not in build_sections(flights())
