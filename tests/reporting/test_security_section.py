"""The section on security: sentences for a person who does not write code, and one table."""

from __future__ import annotations

from msgspec.structs import replace
from tests.core.test_threats import GAP, MADE
from tests.reporting.examined import attacked, copies, only

from headway.core.threats import MissingEvidence, RequirementCoverage
from headway.reporting.report_data import ReportData
from headway.reporting.section import load_section

STEP = MissingEvidence(
    key="measure:attack.success",
    code="absent",
    message="it was not measured",
    next_step="Measure it.",
    command="headway evaluate --audit attack",
)
OPEN = replace(GAP, missing=(STEP,))
COVERED = replace(GAP, id="ML05:2023", topic="extraction", coverage="covered")


def conclusions(*rows: RequirementCoverage) -> tuple[str, ...]:
    report = ReportData(title="flights", threats=replace(MADE, requirements=rows))
    return load_section("security")(report).conclusions


def test_a_report_without_an_assessment_has_no_section():
    assert load_section("security")(ReportData(title="flights")) is None


def test_the_section_counts_names_what_is_missing_and_the_next_step():
    found = conclusions(
        OPEN, replace(OPEN, id="ML01:2023"), COVERED, replace(COVERED, id="x", coverage="not applicable")
    )
    assert found[3] == "Of 3 entries that apply, 1 are covered and 2 are gaps."
    assert found[4].startswith("1 more do not apply")
    assert found[5] == "No gap is left in: Can a caller copy it?"
    assert found[6] == "2 of the gaps are in what every served model should have; they come first."
    assert found[7] == "Next: Measure it. Type: headway evaluate --audit attack (2 gaps wait for it)."
    assert found[-1] == "This was assessed on 2026-11-01, and is due again by 2027-01-30, or when something changes."


def test_the_section_answers_by_what_audits_measured_and_says_what_was_not():
    report = only(*copies(), *attacked(), threats=replace(MADE, requirements=(OPEN,)))
    found = load_section("security")(report).conclusions
    assert found[0].startswith("Can a caller fool it? The attack flips 17.0 to 23.0 of 100 decisions.")
    assert "proven that no attack can flip" in found[0]
    assert found[1].startswith("Can a caller copy it? With the answers to 600 to 800 rows a caller has a copy")
    assert found[2] == "Does it give people in the data away? That was not measured."


def test_accepted_gaps_are_counted_and_are_not_called_covered():
    found = conclusions(replace(OPEN, accepted="sha256:risk"))
    assert "For 1 of the gaps a person accepted the risk for a time." in found
    assert "Of what every served model should have, only gaps that a person accepted are left." in found
    assert not any(line.startswith(("Next:", "No gap is left")) for line in found)


def test_a_question_of_which_nothing_applies_is_not_called_covered():
    found = conclusions(replace(COVERED, coverage="not applicable"))
    assert not any(line.startswith("No gap is left") for line in found)
    assert "Nothing that every served model should have is missing." in found


def test_the_table_has_a_row_for_each_question_that_applies():
    report = ReportData(title="flights", threats=replace(MADE, requirements=(OPEN, COVERED)))
    table = load_section("security")(report).table
    assert [[line.text for line in row[0]] for row in table.rows] == [
        ["Can a caller fool it?"],
        ["Can a caller copy it?"],
    ]
    assert [line.text for line in table.rows[0][-1]] == ["Measure it.", "headway evaluate --audit attack"]
    assert table.rows[1][-1][0].text == "none"


BROKEN = replace(
    GAP,
    topic="privacy",
    coverage="measured",
    missing=(replace(STEP, code="breaks its rule", message="auc is 0.95: at least 0.94, outside the limit of 0.6"),),
)


def test_what_was_measured_to_succeed_is_neither_covered_nor_a_gap_and_has_its_value_and_rule():
    found = conclusions(BROKEN, replace(BROKEN, id="x"), COVERED)
    assert found[3] == (
        "Of 3 entries that apply, 1 are covered, for 2 it was measured that the attack succeeds, and 0 are gaps."
    )
    assert found[4] == (
        "Does it give people in the data away? Measured: it does. auc is 0.95: at least 0.94, outside the limit of 0.6."
    )
    assert found[5] == "No gap is left in: Can a caller copy it?"
    report = ReportData(title="flights", threats=replace(MADE, requirements=(BROKEN, COVERED)))
    (copied, people) = load_section("security")(report).table.rows
    assert [line.text for line in people[2]] == ["1", "auc is 0.95: at least 0.94, outside the limit of 0.6"]
    assert [line.text for line in copied[2]] == ["0"]


def test_an_accepted_risk_of_what_was_measured_is_counted():
    found = conclusions(replace(BROKEN, accepted="sha256:risk"))
    assert "For 1 of the gaps a person accepted the risk for a time." in found
    assert not any(line.startswith("No gap is left") for line in found)
