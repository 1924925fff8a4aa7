"""Test every installed audit: valid measurements in its context, or a refusal with a reason."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
from headway.evaluation.audits import start
from headway.evaluation.context import AuditContext, Comparison, MetricResults, load_audit
from headway.serving.temporary_server import temporary_server
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow
AUDITS = plugins.names("audit")
OF_ECHO = [name for name in AUDITS if name != "certificate"]
"""Audits that measure any model: `certificate` needs trees, as tests of its own have them."""


def context_in(folder: Path, *, budget_s: float = 60.0) -> AuditContext:
    """A context that can retrain: the model is echo whatever it is trained on; a calibrator follows it."""
    blobs = Files(folder)
    blobs.put(b"echo")
    known = echo_comparison(groups=25)
    training_data = LabeledData(rows=known.rows, labels=known.labels, groups=known.groups)
    echo = plugins.load_engine("echo")
    served = partial(temporary_server, Config(), blobs, Contract(), SelfTest(rows=((1.0,) * 3,), answers=((1.0,),)))
    return AuditContext(
        blobs=blobs,
        budget_s=budget_s,
        train=lambda: training_data,
        retrain=retrained_by(lambda task: echo(b"echo", {})),
        calibrator=Calibrator(shift=0.3),
        serve=served,
    )


def subject_in(context: AuditContext, *, task: str = "binary") -> Comparison:
    """Echo compared with itself, its artifact in the blobs of the context."""
    found = echo_comparison(groups=25, task=task)
    object.__setattr__(found.variant.artifact, "digest", context.blobs.put(b"echo"))
    return found


class Audited(NamedTuple):
    """The results of an audit, and its subject before and after it."""

    results: MetricResults
    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]


@pytest.fixture(scope="module", params=OF_ECHO)
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Run each audit once for all tests."""
    name = request.param
    budget_s = 1.0 if name == "load" else 60.0  # `load` uses its whole budget
    context = context_in(tmp_path_factory.mktemp(name), budget_s=budget_s)
    subject = subject_in(context)
    before = subject.rows.copy(), subject.scores.copy(), subject.labels.copy()
    results = load_audit(name)(subject, context)
    return Audited(results, before, (subject.rows, subject.scores, subject.labels))


def test_every_measurement_is_complete_and_its_interval_holds_its_value(audited):
    results = audited.results
    found = [result for result in results if isinstance(result, Measurement)]
    assert found and all(reason.what for reason in results if isinstance(reason, NotApplicable))
    for measurement in found:
        assert measurement.name and measurement.method and measurement.n_rows > 0
        assert measurement.low <= measurement.value <= measurement.high
        assert all(math.isfinite(number) for number in (measurement.value, measurement.low, measurement.high))
        assert (measurement.se is None) == (measurement.dof is None)
    assert len({(measurement.name, measurement.slice) for measurement in found}) == len(found)


def test_the_subject_is_left_as_it_was(audited):
    for was, is_now in zip(audited.before, audited.after, strict=True):
        np.testing.assert_array_equal(was, is_now)


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("task", ["multiclass", "regression", "ranking"])
def test_another_task_is_measured_or_reported_as_not_applicable(name, task, tmp_path, monkeypatch):
    monkeypatch.setattr(start, "STARTS", 2)  # a process each; two give no interval, which is a reason
    context = context_in(tmp_path)
    subject = subject_in(context, task=task)
    try:
        assert load_audit(name)(subject, replace(context, serve=None))
    except NotApplicable as refusal:
        assert refusal.what


@pytest.mark.parametrize("name", AUDITS)
def test_its_first_line_stands_alone_in_a_list(name):
    assert len(plugins.describe("audit", name)) > 20
