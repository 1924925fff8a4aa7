"""Audit `load` on real servers of a small model: right answers are measured, and wrong ones counted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.contract.subjects import echo_comparison

from headway.core.config import Config
from headway.core.errors import EngineError, NotApplicable
from headway.core.release import Contract, SelfTest
from headway.evaluation.audits import load
from headway.evaluation.context import AuditContext
from headway.serving.settings.serve import ServeSection
from headway.serving.temporary_server import temporary_server
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow
ONE = SelfTest(rows=((1.0,) * 3,), answers=((1.0,),))


def context_in(folder, *, self_test: SelfTest = ONE, **changes) -> AuditContext:
    blobs = Files(folder)
    config = Config(ServeSection(workers=1))
    return AuditContext(blobs=blobs, serve=partial(temporary_server, config, blobs, Contract(), self_test), **changes)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    found = echo_comparison(groups=2)
    digest = Files(tmp_path_factory.mktemp("blobs")).put(b"echo")
    return replace(found, variant=changed(found.variant, artifact=changed(found.variant.artifact, digest=digest)))


@pytest.fixture(scope="module")
def results(subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    Files(folder).put(b"echo")
    return load.plugin(subject, context_in(folder, budget_s=3.0, rate_per_s=100.0))


def test_a_real_server_answers_correctly_and_its_memory_is_measured(results):
    found = {result.name: result for result in results if not isinstance(result, NotApplicable)}
    assert found["load.failed"].value == 0 and found["load.failed"].n_rows > 100
    assert found["load.memory_mb"].value > found["load.memory_without_model_mb"].value > 20
    assert found["load.rows_per_s"].value > 1000 and found["load.rows_per_s"].n_groups == load.BUCKETS


def test_percentiles_of_too_few_requests_are_left_out_with_the_number_needed(results):
    reasons = [reason.what for reason in results if isinstance(reason, NotApplicable)]
    assert any(what.startswith("load.p99_ms needs 662 requests, there are 45") for what in reasons)
    assert any(what.startswith("load.start_s needs 11 starts, there are ") for what in reasons)


def test_wrong_answers_are_failures_and_have_no_latency(subject, tmp_path):
    class Other:
        def predict(self, rows):
            return np.full((len(rows), 1), 9.0)

    Files(tmp_path).put(b"echo")
    wrong = replace(subject, model=Other())
    found = load.plugin(wrong, context_in(tmp_path, budget_s=0.5, rate_per_s=100.0))
    (failed,) = (
        measurement
        for measurement in found
        if not isinstance(measurement, NotApplicable) and measurement.name == "load.failed"
    )
    assert failed.value == failed.n_rows > 0
    assert not [
        measurement
        for measurement in found
        if not isinstance(measurement, NotApplicable) and measurement.name.endswith(("_ms", "per_s"))
    ]


def test_a_variant_that_fails_its_self_test_is_not_served_and_the_reason_is_given(subject, tmp_path):
    Files(tmp_path).put(b"echo")
    broken = context_in(tmp_path, self_test=SelfTest(rows=((1.0,) * 3,), answers=((2.0,),)), budget_s=1.0)
    with pytest.raises(EngineError, match=r"did not start: .*self-test"):
        load.plugin(subject, broken)


def test_without_a_server_or_rows_there_is_nothing_to_load(subject, tmp_path):
    with pytest.raises(NotApplicable, match="no server is known for the variant"):
        load.plugin(subject, AuditContext(blobs=Files(tmp_path), budget_s=1.0))
    with pytest.raises(NotApplicable, match="no row"):
        load.plugin(replace(subject, rows=subject.rows[:0]), context_in(tmp_path, budget_s=1.0))
