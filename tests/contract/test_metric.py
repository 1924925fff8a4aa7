"""Test every installed metric: valid measurements of a comparison, or a refusal with a reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.contract.subjects import echo_comparison

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.record import read, write
from headway.evaluation.context import Comparison, load_metric

PROBES = plugins.names("metric")
OF_CASCADES = {"cascade"}
"""They measure nothing of a variant without deferred look-ups; `tests/optimization/test_defer.py` has one with them."""


def measured(name: str, subject: Comparison) -> tuple[Measurement, ...]:
    """Return the measurements of a metric; none if it does not apply."""
    try:
        return tuple(load_metric(name)(subject))
    except NotApplicable:
        return ()


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_every_measurement_is_complete_and_its_interval_holds_its_value(name):
    found = load_metric(name)(echo_comparison(groups=45))
    assert bool(found) == (name not in OF_CASCADES)
    for measurement in found:
        assert measurement.name and measurement.method and measurement.n_rows > 0
        assert measurement.low <= measurement.value <= measurement.high
        assert all(math.isfinite(number) for number in (measurement.value, measurement.low, measurement.high))
        assert (measurement.se is None) == (measurement.dof is None) and (
            measurement.se is not None or measurement.n_groups == 0
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_no_two_measurements_share_a_name_and_slice(name):
    found = load_metric(name)(echo_comparison(groups=25))
    assert len({(measurement.name, measurement.slice) for measurement in found}) == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_measurements_come_back_from_disk_as_they_were_few_groups_or_many(name):
    machine = Machine(cpu="", cores=1, system="", python="")
    for groups in (1, 3, 25):
        found = measured(name, echo_comparison(groups=groups))
        evidence = Evidence(subject="", dataset="", period="", machine=machine, measurements=found)
        assert read(Evidence, write(evidence)) == evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_with_few_groups_no_interval_is_claimed(name):
    found = measured(name, echo_comparison(groups=3))
    assert all(measurement.se is None for measurement in found if 0 < measurement.n_groups < 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_a_subject_is_left_as_it_was(name):
    subject = echo_comparison(groups=25)
    before = [array.copy() for array in (subject.rows, subject.labels, subject.scores, subject.reference_scores)]
    load_metric(name)(subject)
    after = (subject.rows, subject.labels, subject.scores, subject.reference_scores)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("task", ["multiclass", "regression", "ranking", "embedding"])
def test_another_task_is_measured_completely_or_refused_with_a_reason(name, task):
    try:
        found = load_metric(name)(echo_comparison(groups=25, task=task))
    except NotApplicable as refusal:
        assert task in str(refusal)
    else:
        assert bool(found) == (name not in OF_CASCADES)
        assert all(measurement.low <= measurement.value <= measurement.high for measurement in found)


@pytest.mark.parametrize("name", PROBES)
def test_its_description_stands_alone(name):
    assert len(plugins.describe("metric", name)) > 20
