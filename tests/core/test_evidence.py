from __future__ import annotations

import math
import sys

import pytest
from msgspec.structs import replace

from headway.core.evidence import (
    AttackEffort,
    Evidence,
    Finding,
    Machine,
    Measurement,
    TimedCall,
    current_measure,
    former_measure,
)
from headway.core.record import read, write

MACHINE = Machine(cpu="none", cores=2, system="Linux", python="3.11")


def measured(name: str, slice: str = "") -> Measurement:
    return Measurement(name=name, slice=slice, value=0.5, low=0.4, high=0.6, method="jackknife-t", n_rows=10)


EVIDENCE = Evidence(
    subject="v",
    dataset="d",
    period="test",
    machine=MACHINE,
    measurements=(measured("ece"), measured("ece", "carrier=AA"), measured("ece.excess", "carrier=AA")),
)


def test_a_measurement_is_found_by_name_and_slice() -> None:
    assert EVIDENCE.find("ece", "carrier=AA") is EVIDENCE.measurements[1]


def test_the_measurement_of_all_rows_is_the_one_with_no_slice() -> None:
    assert EVIDENCE.find("ece") is EVIDENCE.measurements[0]
    assert EVIDENCE.names() == {"ece"}


@pytest.mark.parametrize(("name", "slice"), [("brier", ""), ("ece", "carrier=UA")])
def test_what_was_not_measured_is_none(name: str, slice: str) -> None:
    assert EVIDENCE.find(name, slice) is None


@pytest.mark.parametrize(
    ("former", "current"),
    [
        ("roc_auc.loss", "roc_auc.drop"),
        ("worst_slice.brier.loss", "worst_slice.brier.drop"),
        ("flipped_decisions.near", "decision_churn.near"),
        ("missing.flipped_decisions", "missing.decision_churn"),
        ("calibration.moved", "probability_shift"),
        ("load.memory_beside_mb", "load.memory_without_model_mb"),
        ("robustness.missing.loss", "robustness.missing.drop"),
        ("robustness.missing.roc_auc.drop", "robustness.missing.roc_auc.decrease"),
    ],
)
def test_former_names_of_measures_are_read_as_those_of_today(former: str, current: str) -> None:
    stored = write(replace(EVIDENCE, measurements=(measured(former),))).replace(b'"version":2', b'"version":1')
    evidence = read(Evidence, stored)
    assert evidence.find(current) == evidence.find(former) == measured(current)
    assert former_measure(current) == former


@pytest.mark.parametrize("name", ["log_loss", "drift.loss", "calibration.bias", "roc_auc"])
def test_other_names_of_measures_stay(name: str) -> None:
    assert current_measure(name) == name


@pytest.mark.parametrize(("where", "column"), [("column wind", "wind"), ("row 7 of column wind", ""), ("", "")])
def test_the_column_of_a_finding_is_read_from_its_place(where: str, column: str) -> None:
    assert Finding(code="D001", severity="note", message="x", where=where).column == column


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            TimedCall(engine="lightgbm", call="predict_proba", input="dataframe_row", rows=1),
            "lightgbm, predict_proba of a DataFrame row, threads as the library chooses",
        ),
        (
            TimedCall(engine="trees", call="predict", input="batch", rows=256, threads=1),
            "trees, predict of 256 rows, threads=1",
        ),
    ],
)
def test_a_timed_call_is_described_with_its_settings(call: TimedCall, text: str) -> None:
    assert str(call) == text


@pytest.mark.parametrize(
    ("former", "current"), [("check known_after", "check outcome_columns"), ("column wind", "column wind")]
)
def test_a_finding_of_an_earlier_version_names_the_checks_of_today(former: str, current: str) -> None:
    finding = Finding(code="D001", severity="warn", message="m", where=former)
    stored = write(replace(EVIDENCE, findings=(finding,))).replace(b'"version":2', b'"version":1')
    assert read(Evidence, stored).findings[0].where == current


@pytest.mark.parametrize(
    ("low", "high", "known"),
    [
        (0.4, 0.6, True),
        (0.5, 0.5, True),
        (0.0, 1.0, False),
        (-1.0, 1.0, False),
        (0.0, 7.0, False),
        (0.0, sys.float_info.max, False),
        (-sys.float_info.max, 1.0, False),
        (math.nan, 0.6, False),
        (0.4, math.nan, False),
        (-math.inf, math.inf, False),
    ],
)
def test_an_interval_over_the_whole_range_of_a_measure_is_none(low: float, high: float, known: bool) -> None:
    found = replace(measured("ndcg"), low=low, high=high, bounds=(0.0, 7.0))
    assert found.has_interval is known


def test_an_estimated_interval_may_reach_the_ends_of_its_range() -> None:
    assert replace(measured("share"), low=0.0, high=1.0, se=0.4, dof=30.0, bounds=(0.0, 1.0)).has_interval


def test_the_effort_of_an_attack_is_complete_with_its_registered_number_and_is_stored() -> None:
    few = AttackEffort(attack="lira", done=6, registered=24, unit="shadow models")
    assert (few.is_complete, replace(few, done=24).is_complete) == (False, True)
    assert str(few) == "attack 'lira' with 6 of 24 shadow models"
    assert str(replace(few, done=30)) == "attack 'lira' in full, with 30 shadow models"
    attacked = replace(EVIDENCE, measurements=(replace(measured("privacy.membership.auc"), effort=few),))
    assert read(Evidence, write(attacked)) == attacked
    assert b"effort" not in write(EVIDENCE)
