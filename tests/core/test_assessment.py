"""The findings of an assessment, and the settings of one that an earlier version stored."""

from __future__ import annotations

from headway.core.assessment import Assessment, CheckRun
from headway.core.evidence import Finding
from headway.core.record import read, write

WARNING = Finding(code="D010", severity="warn", message="m")
UNJUDGED = Finding(code="D000", severity="warn", message="too few rows")
FEW = CheckRun(name="few_groups", code="D001", unjudged="too few rows")
ASSESSMENT = Assessment(
    name="m",
    at="2026-11-28",
    by="ann",
    headway="0.1.0",
    number=1,
    source="flights.csv",
    dataset="sha256:0",
    n_rows=10,
    n_groups=2,
    until="",
    columns={},
    settings={},
    check_runs=(CheckRun(name="no_test", code="D002"), FEW),
    findings=(WARNING, UNJUDGED),
)


def test_a_check_that_could_not_judge_is_listed_apart_from_findings() -> None:
    assert (ASSESSMENT.judged, ASSESSMENT.unjudged) == ((WARNING,), (FEW,))
    assert (ASSESSMENT.count("warn"), ASSESSMENT.count("stop")) == (1, 0)


def test_settings_of_an_earlier_version_have_the_names_of_today() -> None:
    stored = write(ASSESSMENT).replace(
        b'"settings":{}', b'"settings":{"data.people":"[\\"sex\\"]","split.choose":"0.2"}'
    )
    found = read(Assessment, stored.replace(b'"version":2', b'"version":1')).settings
    assert found == {"data.max_rows": "0", "data.sensitive_features": '["sex"]', "split.validation": "0.2"}
