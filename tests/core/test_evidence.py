from __future__ import annotations

import pytest

from headway.core.evidence import Evidence, Machine, Measurement

MACHINE = Machine(cpu="none", cores=2, system="Linux", python="3.11")


def measured(name: str, slice: str = "") -> Measurement:
    return Measurement(name=name, slice=slice, value=0.5, low=0.4, high=0.6, method="jackknife-t", n_rows=10)


EVIDENCE = Evidence(
    subject="v",
    dataset="d",
    period="test",
    machine=MACHINE,
    measurements=(measured("ece"), measured("ece", "carrier=AA")),
)


def test_a_measurement_is_found_by_name_and_slice() -> None:
    assert EVIDENCE.find("ece", "carrier=AA") is EVIDENCE.measurements[1]


def test_the_measurement_of_all_rows_is_the_one_with_no_slice() -> None:
    assert EVIDENCE.find("ece") is EVIDENCE.measurements[0]


@pytest.mark.parametrize(("name", "slice"), [("brier", ""), ("ece", "carrier=UA")])
def test_what_was_not_measured_is_none(name: str, slice: str) -> None:
    assert EVIDENCE.find(name, slice) is None
