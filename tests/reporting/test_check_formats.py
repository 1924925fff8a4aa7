"""A check in the formats of the gate; a check that did not run never counts as passed."""

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
from tests.reporting.assessed import GAPS, LEAK, OUTCOME, RUNS, THIRD, UNDECLARED, assessed, assessment, first

from headway.monitoring.assessment.assess import AssessmentResult, assess
from headway.reporting.gates.check import check_answer, check_outputs, check_text, conclude_check
from headway.reporting.gates.formats import CHECK, CHECK_FORMATS, write_reports

HOSTILE = "]]> <b>|x| {0} [a](b) \x1b[2J\nverdict=pass"


def listed(found: AssessmentResult) -> dict[str, list[str]]:
    """Return the elements of each test case of the JUnit file."""
    tests = ElementTree.fromstring(CHECK_FORMATS["junit"](found)).iter("testcase")
    return {str(test.get("name")): [child.tag for child in test] for test in tests}


def test_junit_has_a_test_for_each_finding_and_each_other_check():
    assert listed(assessed()) == {
        "D001 column arr_delay": ["system-out"],
        "D004 column late": ["system-out"],
        "D005 [data.known]": ["error"],
        "D003 column air_time": ["failure"],
        "D006 few_groups": ["skipped"],
        "D007 target_values": ["system-out"],
    }


@pytest.mark.slow
def test_sarif_has_a_result_for_each_finding_most_severe_first_with_its_hint():
    log = json.loads(CHECK_FORMATS["sarif"](assessed()))
    jsonschema.validate(log, SARIF)
    results = log["runs"][0]["results"]
    assert [result["level"] for result in results] == ["error", "warning", "warning", "note", "note"]
    assert "try: \\[data.known" in results[0]["message"]["text"] or "try: [data.known" in results[0]["message"]["text"]
    names = [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    assert [names[result["ruleIndex"]] for result in results] == [result["ruleId"] for result in results]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_every_format_has_the_most_severe_finding_with_its_number(name):
    text = CHECK_FORMATS[name](assessed())
    assert "air_time" in text.replace("\\_", "_") and "0.912" in text and text.endswith("\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_texts_from_a_table_are_escaped(name):
    bad = replace(LEAK, message=HOSTILE, where=HOSTILE, hint=HOSTILE)
    text = CHECK_FORMATS[name](AssessmentResult(now=assessment(findings=(bad,))))
    assert "\x1b" not in text
    if name == "junit":
        ElementTree.fromstring(text)
    if name == "sarif":
        jsonschema.validate(json.loads(text), SARIF)


def test_github_outputs_are_the_answer_and_the_counts():
    assert check_outputs(assessed()) == {
        "answer": "fail",
        "assessment": "2",
        **dict.fromkeys(("stop", "undecided", "warn", "note", "unjudged"), "1"),
    }


@pytest.mark.slow
def test_nothing_found_is_a_pass_in_every_format(tmp_path: Path):
    assert check_answer(first()) == "pass"
    write_reports(first(), [f"{name}={tmp_path / name}" for name in CHECK_FORMATS], {}, CHECK)
    assert {path.name for path in tmp_path.iterdir()} == set(CHECK_FORMATS)
    assert all(kinds == ["system-out"] for kinds in listed(first()).values())


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECK_FORMATS)
def test_the_same_assessment_always_gives_the_same_bytes(name):
    assert CHECK_FORMATS[name](dataclasses.replace(assessed(), same=True)) == CHECK_FORMATS[name](assessed())


@pytest.mark.slow
def test_a_check_that_runs_again_on_the_same_data_writes_the_same_files(tmp_path):
    project, dataset = project_of(tmp_path, months_of(4))
    first, again = (assess(project, dataset, who=who) for who in ("ada", "bob"))
    assert again.same
    assert {name: render(again) for name, render in CHECK_FORMATS.items()} == {
        name: render(first) for name, render in CHECK_FORMATS.items()
    }


def test_a_column_is_a_logical_location_in_the_data_file_and_a_setting_is_in_headway_toml():
    now = replace(THIRD, source="data/flights.parquet")
    results = json.loads(CHECK_FORMATS["sarif"](AssessmentResult(now=now)))["runs"][0]["results"]
    locations = {result["ruleId"]: result["locations"][0] for result in results}
    assert locations["D003"]["physicalLocation"]["artifactLocation"] == {"uri": "data/flights.parquet"}
    assert locations["D003"]["logicalLocations"] == [
        {"name": "air_time", "fullyQualifiedName": "data/flights.parquet/air_time", "kind": "member"}
    ]
    assert locations["D005"]["physicalLocation"]["artifactLocation"] == {"uri": "headway.toml"}
    assert "logicalLocations" not in locations["D005"]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["flights:load", "../elsewhere.parquet", "/tmp/a.csv", "sqlite:///a.csv", "notes"])
def test_a_column_of_a_source_outside_the_project_is_in_headway_toml(source):
    results = json.loads(CHECK_FORMATS["sarif"](AssessmentResult(now=replace(THIRD, source=source))))["runs"][0][
        "results"
    ]
    assert {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results} == {
        "headway.toml"
    }
    assert results[0]["locations"][0]["logicalLocations"][0]["name"] == "air_time"


def test_the_text_ends_with_the_answer_and_names_what_did_not_run_in_one_line():
    lines = check_text(assessed()).splitlines()
    assert lines[-1] == (
        "training is stopped by 1 finding; 1 question for you to decide; 1 thing to look at; 1 check did not run"
    )
    assert [line for line in lines if "few_groups" in line] == [
        "1 of 6 checks did not run, which is not a pass: few_groups (why: headway check --report check.html)"
    ]
    assert not any("arr_delay" in line for line in lines)


@pytest.mark.parametrize(
    ("findings", "answer"),
    [
        ((), "nothing stops training; nothing to look at"),
        ((OUTCOME,), "nothing stops training; nothing to look at"),
        ((GAPS,), "nothing stops training; 1 thing to look at"),
        ((GAPS, GAPS, UNDECLARED), "nothing stops training; 1 question for you to decide; 2 things to look at"),
        ((LEAK,), "training is stopped by 1 finding; nothing else to look at"),
    ],
)
def test_a_check_is_concluded_in_one_sentence(findings, answer):
    runs = tuple(replace(run, unjudged="") for run in RUNS)
    assert conclude_check(assessment(findings=findings, check_runs=runs)) == answer
