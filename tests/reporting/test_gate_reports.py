"""Reports of the gate: undecided never counts as passed, texts are escaped, the same case gives the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from gate_cases import CASES, FAIL, OVERRULED, PASS, UNDECIDED, WITHOUT_RULES, hostile_cases
from hypothesis import given
from markdown_it import MarkdownIt
from msgspec.structs import replace
from stories import estimate, fact

from headway.core.errors import ConfigError
from headway.core.evidence import Finding
from headway.reporting.gates import gate, test_report
from headway.reporting.gates.formats import GATE, GATE_FORMATS, write_reports
from headway.reporting.gates.gate import GateResult, failed_rules, verdict_reason
from headway.reporting.text.formatting import UNPRINTABLE, one_line

SUSPICIOUS = Finding(code="E005", severity="warn", message="the model gives the answer 0.3 to all 400 rows")


def test_the_main_measures_and_warnings_are_in_the_text_and_in_the_comment_on_a_pull_request():
    measured = (estimate("roc_auc", 0.74, 0.02), estimate("gain_over_constant", 0.1, 0.02))
    measured += (estimate("live.roc_auc.drop", 0.001, 0.002),)
    of = replace(PASS.evidence, measurements=(*PASS.evidence.measurements, *measured), findings=(SUSPICIOUS,))
    case = replace(PASS, evidence=of)
    quality = "ranking (AUC) 0.740 [0.720, 0.760]; gain over a constant prediction 0.100 [0.080, 0.120]"
    assert f"quality: {quality}; " in gate.gate_text(case) and "against the live release: loss in AUC 0.001" in (
        " ".join(gate.gate_text(case).split())
    )
    assert "warning: the model gives the answer 0.3" in gate.gate_text(case)
    markdown = READER.render(gate.gate_markdown(case))
    assert f"Quality: {quality}" in markdown and "Warning:</strong> the model gives the answer 0.3" in markdown
    assert "quality: not measured" in gate.gate_text(PASS)


def test_every_verdict_shows_what_a_million_predictions_cost():
    cpu = (estimate("cost.cpu_s.one_row", 31.2, 0.4, unit="s", rows=2000), fact("cost.cpu_s.batch", 2.5, unit="s"))
    case = replace(PASS, speed=(*PASS.speed, *cpu))
    shown = "one by one 31.2 s [30.8, 31.6] of CPU time (2,000 rows, 62 rounds); in batches 2.50 s of CPU time"
    for text in (gate.gate_text(case), gate.gate_markdown(case)):
        assert f"ost of a million predictions: {shown}" in " ".join(text.split()).replace("\\", "")
    more = (
        estimate("cost.per_million.one_row", 0.3, 0.01, unit="EUR"),
        estimate("cost.energy_j.one_row", 400, 9, unit="J"),
    )
    text = gate.gate_text(replace(PASS, speed=(*cpu[:1], *more)))
    costs = "31.2 s [30.8, 31.6] of CPU time, 0.300 EUR [0.290, 0.310], 400 J [391, 409] of the processor's energy"
    assert costs in " ".join(text.split())
    assert "cost of a million predictions: not measured" in gate.gate_text(PASS)


READER = MarkdownIt("commonmark").enable("table")
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
# The parts of the standard that these files use; no others may occur.
SARIF = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "minItems": 1,
            "items": {
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id", "shortDescription"],
                                            "properties": {"shortDescription": TEXT, "fullDescription": TEXT},
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "automationDetails": {"required": ["id"]},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "properties": {"type": "object"},
                    "results": {
                        "items": {
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations"],
                            "properties": {
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["note", "warning", "error"]},
                                "message": TEXT,
                                "locations": {"minItems": 1},
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                                "suppressions": {
                                    "items": {
                                        "required": ["kind"],
                                        "properties": {
                                            "kind": {"enum": ["inSource", "external"]},
                                            "status": {"enum": ["accepted", "underReview", "rejected"]},
                                            "justification": {"type": "string"},
                                        },
                                    }
                                },
                            },
                        }
                    },
                },
            },
        },
    },
}


def listed(case: GateResult) -> list[list[str]]:
    """Return the elements of each test case of the JUnit file."""
    return [
        [child.tag for child in test] for test in ElementTree.fromstring(test_report.gate_junit(case)).iter("testcase")
    ]


def results_of(case: GateResult) -> list[dict[str, object]]:
    return json.loads(test_report.gate_sarif(case))["runs"][0]["results"]


def as_read(message: str) -> str:
    """Return a message as a SARIF viewer shows it, with placeholders and links unescaped."""
    undone = re.sub(r"(\\*)\\\]\(", lambda found: f"{found[1][: len(found[1]) // 2]}](", message)
    return undone.replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize(
    ("case", "found"),
    [
        (PASS, [["system-out"], ["system-out"]]),
        (FAIL, [["failure"], ["failure"]]),
        (UNDECIDED, [["error"], ["system-out"]]),
        (WITHOUT_RULES, [["error"]]),
        (OVERRULED, [["skipped"], ["skipped"]]),
    ],
    ids=["pass", "fail", "undecided", "without rules", "overruled"],
)
def test_junit_has_a_test_for_each_rule_and_undecided_is_an_error(case: GateResult, found: list[list[str]]) -> None:
    assert listed(case) == found
    top = ElementTree.fromstring(test_report.gate_junit(case))
    counted = {tag: sum([tag] == kinds for kinds in found) for tag in ("failure", "error", "skipped")}
    assert [top.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        *map(str, (len(found), *counted.values()))
    ]


def test_junit_has_the_message_of_the_rule_and_the_limit() -> None:
    [first, _] = ElementTree.fromstring(test_report.gate_junit(FAIL)).iter("failure")
    assert first.get("message") == FAIL.verdict.rule_results[0].message
    assert "limit: at most 0.005" in str(first.text)


@pytest.mark.parametrize(
    ("case", "levels"),
    [
        (PASS, []),
        (FAIL, ["error", "error"]),
        (UNDECIDED, ["warning"]),
        (WITHOUT_RULES, ["warning"]),
        (OVERRULED, ["note", "note"]),
        (CASES["overruled without rules"], ["note"]),
        (CASES["evaluated three times"], ["note"]),
    ],
)
def test_sarif_has_a_result_for_each_rule_that_did_not_pass(case: GateResult, levels: list[str]) -> None:
    assert [found["level"] for found in results_of(case)] == levels


def test_every_format_shows_who_overrode_the_verdict_and_why() -> None:
    for name, report in GATE_FORMATS.items():
        assert "ada" in report(OVERRULED) and "storm days" in report(OVERRULED), name
    [accepted] = results_of(OVERRULED)[0]["suppressions"]
    assert accepted["status"] == "accepted" and "storm days" in accepted["justification"]


@pytest.mark.parametrize("name", ["text", "junit", "sarif", "markdown", "github"])
def test_repeated_evaluations_of_the_test_set_give_a_warning(name: str) -> None:
    assert "evaluated 3 times, so it was used for selection" in GATE_FORMATS[name](CASES["evaluated three times"])
    assert "used for selection" not in GATE_FORMATS[name](PASS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_markdown_has_a_row_for_each_rule_with_interval_limit_and_answer(case: GateResult) -> None:
    report = gate.gate_markdown(case)
    rows = re.findall(r"^\| \*\*.*$", report, re.MULTILINE)
    assert len(rows) == len(case.verdict.rule_results)
    for row, rule_result in zip(rows, case.verdict.rule_results, strict=True):
        assert f"at most {rule_result.rule.at_most}" in row and rule_result.answer in row and r"\[" in row
        assert "58,665 rows, 62 groups" in row
    assert r"x 8.40 \[8.20, 8.60\]" in report and case.verdict.answer in report.splitlines()[0]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sarif_is_valid(case: GateResult) -> None:
    jsonschema.validate(json.loads(test_report.gate_sarif(case)), SARIF)


@pytest.mark.slow
@given(hostile_cases())
def test_any_text_is_escaped_in_xml(case: GateResult) -> None:
    written = test_report.gate_junit(case)
    top = ElementTree.fromstring(written)
    names = [test.get("name") for test in top.iter("testcase")]
    assert (
        names == [one_line(str(result.rule)) for result in case.verdict.rule_results] or not case.verdict.rule_results
    )
    assert {element.tag for element in top.iter()} <= {
        *("testsuites", "testsuite", "properties", "property", "testcase"),
        *("failure", "error", "skipped", "system-out", "system-err"),
    }
    texts = {child.get("message") or child.text for test in top.iter("testcase") for child in test}
    messages = [one_line(result.message) for result in case.verdict.rule_results if result.answer != "pass"]
    assert all(any(message in str(text) for text in texts) for message in messages)
    assert not UNPRINTABLE.search(written.replace("\n", ""))


@pytest.mark.slow
@given(hostile_cases())
def test_any_text_is_escaped_in_sarif(case: GateResult) -> None:
    log = json.loads(test_report.gate_sarif(case))
    jsonschema.validate(log, SARIF)
    texts = [str(found["message"]["text"]) for found in log["runs"][0]["results"]]
    for rule_result, message in zip(failed_rules(case.verdict), texts, strict=False):
        assert as_read(message) == one_line(f"{rule_result.answer}: {rule_result.message}")
        assert all(len(run) % 2 == 0 for run in re.findall(r"\{+|\}+", message))


@pytest.mark.slow
@given(hostile_cases())
def test_any_text_is_escaped_in_markdown(case: GateResult) -> None:
    tokens = READER.parse(gate.gate_markdown(case))
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "strong_open", "strong_close", "html_inline", "softbreak"}
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<!-- -->", "<br>"}
    assert {token.type.removesuffix("_open").removesuffix("_close") for token in tokens} <= {
        *("heading", "paragraph", "inline", "table", "thead", "tbody", "tr", "th", "td"),
    }
    shown = "".join(child.content for child in inline if child.type == "text")
    assert all(one_line(result.message) in shown for result in case.verdict.rule_results)


@pytest.mark.slow
@given(hostile_cases())
def test_no_text_adds_an_output_to_github(case: GateResult) -> None:
    names = [line.partition("=")[0] for line in gate.format_outputs(gate.gate_outputs(case)).splitlines()]
    assert names == ["verdict", "reason", "change", "variant", "test_evaluations", "looks_at_test"]


@pytest.mark.slow
@given(hostile_cases())
def test_no_text_reaches_a_terminal_as_a_control_sequence(case: GateResult) -> None:
    last = gate.gate_text(case).split("\n\n")[-1]
    assert not UNPRINTABLE.search(last.replace("\n", ""))


@pytest.mark.slow
@pytest.mark.parametrize("name", GATE_FORMATS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_gives_the_same_text_in_any_zone_and_width(
    name: str, case: GateResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = GATE_FORMATS[name](case)
    for key, value in {"TZ": "Asia/Tokyo", "COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "dumb", "LC_ALL": "C"}.items():
        monkeypatch.setenv(key, value)
    assert GATE_FORMATS[name](case) == first
    assert first.endswith("\n") and "\r" not in first


def test_reports_are_printed_or_written_in_the_requested_formats(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    write_reports(FAIL, ["markdown", f"junit={tmp_path / 'new/gate.xml'}"], {}, GATE)
    assert capsysbinary.readouterr().out.decode() == gate.gate_markdown(FAIL)
    assert (tmp_path / "new/gate.xml").read_bytes().decode() == test_report.gate_junit(FAIL)


def test_github_appends_to_the_files_it_names_and_is_printed_elsewhere(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "out").write_text("before=1\n")
    named = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "GITHUB_OUTPUT": str(tmp_path / "out")}
    write_reports(UNDECIDED, ["github"], named, GATE)
    assert (tmp_path / "summary").read_text() == gate.gate_markdown(UNDECIDED)
    assert (
        (tmp_path / "out")
        .read_text()
        .startswith(f"before=1\nverdict=undecided\nreason={verdict_reason(UNDECIDED.verdict)}\n")
    )
    assert capsysbinary.readouterr().out == b""
    write_reports(UNDECIDED, ["github"], {}, GATE)
    assert capsysbinary.readouterr().out.decode() == gate.gate_markdown(UNDECIDED)


def test_an_unknown_format_is_rejected_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format 'junitt'; known: text, json, junit, sarif, markdown, github"):
        write_reports(PASS, [f"junit={tmp_path / 'gate.xml'}", "junitt"], {}, GATE)
    assert not list(tmp_path.iterdir())
