"""The section on data use: columns, personal data, retention, and erasures."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.monitoring.rollouts import project
from tests.reporting.stories import flights

from headway.core.assessment import Assessment
from headway.core.erasure import Erased, Erasure, Residual
from headway.core.evidence import Finding, Measurement
from headway.reporting.page import render_report
from headway.reporting.read_report_data import NOT_READ, read_data_use
from headway.reporting.report_data import ColumnUse, DataUse
from headway.reporting.section import Section, build_sections
from headway.reporting.sections.data_use import describe_data_use

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


def titles(section: Section) -> list[str]:
    return [column.title for column in section.table.columns]


def test_purpose_and_legal_basis_are_shown_where_they_are_declared(tmp_path):
    toml = TOML.replace(
        "[trust]",
        '[personal.purpose]\nhour = "delays by hour"\n"*" = "fairness"\n'
        '[personal.legal_basis]\n"*" = "contract"\n[trust]',
    )
    opened = project(tmp_path, toml=toml)
    opened.save(SEEN)
    use = read_data_use(opened, ("hour", "carrier"))
    found = {column.name: (column.declared_purpose, column.legal_basis) for column in use.columns}
    assert found["hour"] == ("delays by hour", "") and found["carrier"] == ("fairness", "contract")
    assert found["mail"] == found["tail"] == ("", ""), "one was dropped, the other is ignored"

    section = describe_data_use(use)
    assert titles(section)[3:] == ["Purpose", "Legal basis"]
    assert "A purpose is declared for 2 of 2 columns that the model reads." in section.conclusions
    assert "A legal basis is declared for 1 of 1 columns with personal data." in section.conclusions


def test_columns_without_a_purpose_or_basis_are_named_unless_none_is_declared():
    columns = (
        ColumnUse(name="hour", purpose="read by the model", is_read=True, declared_purpose="delays"),
        ColumnUse(name="age", purpose="read by the model", is_read=True, is_personal=True),
    )
    lines = describe_data_use(replace(USE, columns=columns)).conclusions
    assert "A purpose is declared for 1 of 2 columns that the model reads; it is missing for age." in lines
    assert not [line for line in lines if "legal basis" in line]
    assert titles(describe_data_use(USE)) == ["Column", "Used for", "Personal data"]


def test_columns_whose_removal_costs_nothing_are_proposed_with_the_interval():
    useless = Measurement(name="ablation.useless", value=1.0, low=1.0, high=1.0, method="m", n_rows=900, slice="hour")
    cost = replace(useless, name="ablation.masked.brier.drop", value=0.001, low=-0.002, high=0.003, n_groups=30)
    report = flights()
    evidence = replace(report.winner.evidence, measurements=(useless, cost))
    found = replace(report, data_use=USE, winner=replace(report.winner, evidence=evidence))
    (line,) = [line for line in build_sections(found)["data_use"].conclusions if "remove them" in line]
    assert line.endswith("purpose needs them: hour (the error changes by -0.0020 to 0.0030 on 900 rows).")
    assert "remove them" not in conclusions()


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
