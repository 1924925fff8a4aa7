"""Test every installed audit: valid measurements in its context, or a refusal with a reason."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.contract.subjects import echo_comparison
from tests.evaluation.audits.retraining import retrained_by

from headway.core import plugins
from headway.core.calibrator import Calibrator
from headway.core.config import Config
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.release import Contract, SelfTest
from headway.evaluation.context import AuditContext, load_audit
from headway.serving.temporary_server import temporary_server
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow
AUDITS = plugins.names("audit")


@pytest.fixture
def context(tmp_path, request) -> AuditContext:
    """A context that can retrain: the model is echo whatever it is trained on; a calibrator follows it."""
    blobs = Files(tmp_path)
    blobs.put(b"echo")
    known = echo_comparison(groups=25)
    training_data = LabeledData(rows=known.rows, labels=known.labels, groups=known.groups)
    echo = plugins.load_engine("echo")
    served = partial(temporary_server, Config(), blobs, Contract(), SelfTest(rows=((1.0,) * 3,), answers=((1.0,),)))
    return AuditContext(
        blobs=blobs,
        budget_s=1.0 if request.node.callspec.params.get("name") == "load" else 60.0,  # `load` uses its whole budget
        train=lambda: training_data,
        retrain=retrained_by(lambda task: echo(b"echo", {})),
        calibrator=Calibrator(shift=0.3),
        serve=served,
    )


@pytest.fixture
def subject(context):
    """Echo compared with itself, its artifact in the blobs of the context."""
    found = echo_comparison(groups=25)
    object.__setattr__(found.variant.artifact, "digest", context.blobs.put(b"echo"))
    return found


@pytest.mark.parametrize("name", AUDITS)
def test_every_measurement_is_complete_and_its_interval_holds_its_value(name, subject, context):
    results = load_audit(name)(subject, context)
    found = [result for result in results if isinstance(result, Measurement)]
    assert found and all(reason.what for reason in results if isinstance(reason, NotApplicable))
    for measurement in found:
        assert measurement.name and measurement.method and measurement.n_rows > 0
        assert measurement.low <= measurement.value <= measurement.high
        assert all(math.isfinite(number) for number in (measurement.value, measurement.low, measurement.high))
        assert (measurement.se is None) == (measurement.dof is None)
    assert len({(measurement.name, measurement.slice) for measurement in found}) == len(found)


@pytest.mark.parametrize("name", AUDITS)
def test_the_subject_is_left_as_it_was(name, subject, context):
    before = subject.rows.copy(), subject.scores.copy(), subject.labels.copy()
    load_audit(name)(subject, context)
    for was, is_now in zip(before, (subject.rows, subject.scores, subject.labels), strict=True):
        np.testing.assert_array_equal(was, is_now)


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("task", ["multiclass", "regression", "ranking"])
def test_another_task_is_measured_or_reported_as_not_applicable(name, task, context):
    subject = echo_comparison(groups=25, task=task)
    object.__setattr__(subject.variant.artifact, "digest", context.blobs.put(b"echo"))
    try:
        assert load_audit(name)(subject, replace(context, serve=None))
    except NotApplicable as refusal:
        assert refusal.what


@pytest.mark.parametrize("name", AUDITS)
def test_its_first_line_stands_alone_in_a_list(name):
    assert len(plugins.describe("audit", name)) > 20
