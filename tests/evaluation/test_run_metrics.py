"""Evidence from metrics: in their order, with a finding for each that did not run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.core.errors import PluginError
from headway.core.evidence import Evidence
from headway.core.record import read, write
from headway.evaluation.measure import measure


def test_evidence_holds_the_measurements_and_survives_a_round_trip(make_subject):
    subject = make_subject(count=25, slices=2)
    evidence = measure(subject, ["parity", "slices"], dataset_digest="sha256:1", period="validation")
    names = [measurement.name for measurement in evidence.measurements]
    assert (names[0], names[-2:]) == ("max_change", ["brier.drop"] * 2)
    assert (evidence.subject, evidence.dataset, evidence.period) == (subject.variant.digest, "sha256:1", "validation")
    assert evidence.findings == () and evidence.at
    assert read(Evidence, write(evidence)) == evidence


def test_a_metric_that_cannot_judge_leaves_an_undecided_finding(make_subject):
    evidence = measure(make_subject(count=25), ["slices", "parity"], dataset_digest="", period="test")
    finding = evidence.findings[0]
    assert (finding.code, finding.severity) == ("E001", "undecided")
    assert "metric 'slices' did not run" in finding.message and finding.hint
    assert evidence.find("max_change") is not None


def test_a_metric_that_measures_a_part_reports_the_rest_with_a_hint(make_subject):
    evidence = measure(make_subject(count=25), ["cost"], dataset_digest="", period="test")
    (finding,) = evidence.findings
    assert evidence.find("cost.cpu_s.batch") and evidence.find("cost.per_million.batch") is None
    assert finding.code == "E001" and "'cost' did not measure all: no price is declared" in finding.message
    assert "core_hour" in finding.hint


def test_answers_that_are_not_finite_are_never_measured(make_subject):
    subject = make_subject(count=25)
    scores = subject.scores.copy()
    scores[4] = np.nan
    evidence = measure(replace(subject, scores=scores), ["quality", "parity"], dataset_digest="", period="test")
    assert evidence.measurements == ()
    assert ["1 answers of the variant" in finding.message for finding in evidence.findings] == [True, True]


def test_an_unknown_metric_is_named_with_the_known_ones(make_subject):
    with pytest.raises(PluginError, match="no metric named 'qualty'"):
        measure(make_subject(count=20), ["qualty"], dataset_digest="", period="test")
