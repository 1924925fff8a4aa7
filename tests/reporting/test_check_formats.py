"""A check in the formats of the gate: one code path, and what could not judge never reads as passed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from msgspec.structs import replace
from test_gate_reports import SARIF
from tests.monitoring.assessment.assessments import months_of, project_of
from tests.reporting.assessed import LEAK, THIRD, assessed, assessment, first

from headway.monitoring.assessment.assess import AssessmentResult, assess
from headway.reporting.gates.check import check_answer, check_outputs
from headway.reporting.gates.formats import CHECK, CHECK_FORMATS, write_reports

HOSTILE = "]]> <b>|x| {0} [a](b) \x1b[2J\nverdict=pass"


def listed(found: AssessmentResult) -> dict[str, list[str]]:
    """What stands in each test case of the JUnit file."""
    tests = ElementTree.fromstring(CHECK_FORMATS["junit"](found)).iter("testcase")
    return {str(test.get("name")): [child.tag for child in test] for test in tests}


def test_junit_has_a_test_a_finding_and_one_for_each_check_that_found_nothing_or_could_not_judge():
    assert listed(assessed()) == {
        "D001 column arr_delay": ["system-out"],
        "D004 column late": ["system-out"],
        "D005 [data.known]": ["error"],
        "D003 column air_time": ["failure"],
        "D006 few_groups": ["skipped"],
        "D007 target_values": ["system-out"],
    }


def test_sarif_has_a_result_a_finding_the_gravest_first_with_the_mend():
    whole = json.loads(CHECK_FORMATS["sarif"](assessed()))
    jsonschema.validate(whole, SARIF)
    results = whole["runs"][0]["results"]
    assert [each["level"] for each in results] == ["error", "warning", "warning", "note", "note"]
    assert "try: \\[data.known" in results[0]["message"]["text"] or "try: [data.known" in results[0]["message"]["text"]
    names = [each["id"] for each in whole["runs"][0]["tool"]["driver"]["rules"]]
    assert [names[each["ruleIndex"]] for each in results] == [each["ruleId"] for each in results]


@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_every_format_tells_the_gravest_finding_with_its_number(name):
    told = CHECK_FORMATS[name](assessed())
    assert "air_time" in told.replace("\\_", "_") and "0.912" in told and told.endswith("\n")


@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_a_text_from_a_table_stays_a_text(name):
    bad = replace(LEAK, message=HOSTILE, where=HOSTILE, hint=HOSTILE)
    told = CHECK_FORMATS[name](AssessmentResult(now=assessment(findings=(bad,))))
    assert "\x1b" not in told
    if name == "junit":
        ElementTree.fromstring(told)
    if name == "sarif":
        jsonschema.validate(json.loads(told), SARIF)


def test_github_is_told_the_answer_and_the_counts():
    assert check_outputs(assessed()) == {
        "answer": "fail",
        "assessment": "2",
        **dict.fromkeys(("stop", "undecided", "warn", "note", "unjudged"), "1"),
    }


def test_nothing_found_is_a_pass_in_every_format(tmp_path: Path):
    assert check_answer(first()) == "pass"
    write_reports(first(), [f"{name}={tmp_path / name}" for name in CHECK_FORMATS], {}, CHECK)
    assert {each.name for each in tmp_path.iterdir()} == set(CHECK_FORMATS)
    assert all(kinds == ["system-out"] for kinds in listed(first()).values())


@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_the_same_evidence_gives_the_same_bytes_however_often_it_is_told(name):
    assert CHECK_FORMATS[name](dataclasses.replace(assessed(), same=True)) == CHECK_FORMATS[name](assessed())


@pytest.mark.slow
def test_a_check_that_runs_again_on_the_same_data_writes_the_same_files(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    first, again = (assess(project, dataset, who=who) for who in ("ada", "bob"))
    assert again.same
    assert {name: told(again) for name, told in CHECK_FORMATS.items()} == {
        name: told(first) for name, told in CHECK_FORMATS.items()
    }


def test_a_column_is_the_logical_location_in_the_file_of_the_data_and_a_setting_lies_in_headway_toml():
    now = replace(THIRD, source="data/flights.parquet")
    results = json.loads(CHECK_FORMATS["sarif"](AssessmentResult(now=now)))["runs"][0]["results"]
    places = {each["ruleId"]: each["locations"][0] for each in results}
    assert places["D003"]["physicalLocation"]["artifactLocation"] == {"uri": "data/flights.parquet"}
    assert places["D003"]["logicalLocations"] == [
        {"name": "air_time", "fullyQualifiedName": "data/flights.parquet/air_time", "kind": "member"}
    ]
    assert places["D005"]["physicalLocation"]["artifactLocation"] == {"uri": "headway.toml"}
    assert "logicalLocations" not in places["D005"]


@pytest.mark.parametrize("source", ["flights:load", "../elsewhere.parquet", "/tmp/a.csv", "sqlite:///a.csv", "notes"])
def test_a_source_that_is_no_file_of_the_project_leaves_a_column_in_headway_toml(source):
    results = json.loads(CHECK_FORMATS["sarif"](AssessmentResult(now=replace(THIRD, source=source))))["runs"][0][
        "results"
    ]
    assert {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results} == {"headway.toml"}
    assert results[0]["locations"][0]["logicalLocations"][0]["name"] == "air_time"
