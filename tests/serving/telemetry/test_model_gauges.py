"""Test which reports and tickets of the store /metrics shows, and when they are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.alerts.alerting_projects import report
from tests.reporting.served_features import REPLAY

from headway.core.errors import StoreUnavailable
from headway.core.evidence import Measurement
from headway.core.monitoring import Ticket
from headway.core.selective import CertificateAudit
from headway.monitoring.servers import parse_metrics
from headway.registry.project import Project
from headway.serving.telemetry.model_gauges import ModelGauges

pytestmark = pytest.mark.slow


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def project(tmp_path) -> Project:
    return rollouts.project(tmp_path)


def shown(project: Project) -> dict[str, dict[tuple[str, ...], float]]:
    """What a server that has just started shows: values by the labels other than the model."""
    gauges = ModelGauges(project.state, ["flights"])
    gauges.poll()
    samples = parse_metrics("\n".join(gauges.lines()))
    return {
        name.removeprefix("headway_"): {
            tuple(value for label, value in labels.items() if label != "model"): number for labels, number in found
        }
        for name, found in samples.items()
    }


def measured(name: str, value: float, low: float, high: float) -> Measurement:
    return Measurement(name=name, value=value, low=low, high=high, n_rows=900, n_groups=30, method="")


def test_before_anything_was_judged_the_status_is_unknown(project):
    assert shown(project) == {
        "model_status": {("healthy",): 0, ("drifted",): 0, ("degraded",): 0, ("unknown",): 1},
        "retraining_ticket_age_seconds": {(): 0},
    }
    assert list(ModelGauges(project.state, ["flights"]).lines()) == []  # nothing was read yet


def test_the_last_period_that_could_judge_each_question_is_shown(project):
    release = rollouts.live(project, rollouts.release())
    quality = (measured("roc_auc", 0.71, 0.69, 0.73), measured("ece", 0.04, 0.02, 0.06))
    project.save(replace(report(release, "degraded", day=0, alarm=True), quality=quality))
    project.save(report(release, "unknown", day=1))
    opened = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    ticket = Ticket(name="flights", release=release, reasons=("rows",), why="", at="1997-05-01", opened_at=opened)
    project.save(ticket)
    found = shown(project)
    assert found["model_status"] == {("healthy",): 0, ("drifted",): 0, ("degraded",): 0, ("unknown",): 1}
    assert found["model_quality"] == {("roc_auc", "value"): 0.71, ("roc_auc", "low"): 0.69, ("roc_auc", "high"): 0.73}
    assert found["model_calibration_error"] == {("value",): 0.04, ("low",): 0.02, ("high",): 0.06}
    assert found["model_drift"] == {(): 1} and found["model_drift_p_value"] == {(): 0.001}
    assert found["model_period_end_seconds"] == {(): datetime(2026, 1, 2, tzinfo=UTC).timestamp()}
    assert 3600 <= found["retraining_ticket_age_seconds"][()] < 3700


def test_the_age_of_a_ticket_without_a_time_of_the_clock_counts_from_when_it_is_read(project):
    release = rollouts.live(project, rollouts.release())
    project.save(Ticket(name="flights", release=release, reasons=("rows",), why="", at="1997-05-01T00:00:00"))
    assert 0 <= shown(project)["retraining_ticket_age_seconds"][()] < 3600


def test_the_last_value_replay_of_the_live_release_is_shown(project):
    project.save(REPLAY)
    release = rollouts.live(project, rollouts.release())
    before = shown(project)
    project.save(replace(REPLAY, release=release))
    found = shown(project)

    assert before["model_feature_values"] == {("equal",): 0, ("differs",): 0, ("unknown",): 1}
    assert "model_feature_skew_rows" not in before
    assert found["model_feature_values"] == {("equal",): 0, ("differs",): 1, ("unknown",): 0}
    assert found["model_feature_skew_rows"] == {("weather@v2", "unit"): 500}
    assert found["model_replay_time_seconds"] == {(): datetime(2026, 3, 2, tzinfo=UTC).timestamp()}


def test_what_was_found_of_another_release_is_not_shown(project):
    first = rollouts.live(project, rollouts.release())
    project.save(report(first, "degraded"))
    project.save(Ticket(name="flights", release=first, reasons=("rows",), why="", at="2026-01-01T00:00:00"))
    assert shown(project)["model_status"]["degraded",] == 1
    rollouts.live(project, rollouts.release(threshold=0.4))
    found = shown(project)
    assert found["model_status"]["unknown",] == 1 and found["retraining_ticket_age_seconds"] == {(): 0}


def test_the_store_is_read_at_intervals_and_decoded_only_when_something_is_new(project):
    clock, release = Clock(), rollouts.live(project, rollouts.release())
    gauges = ModelGauges(project.state, ["flights"], every_s=15, monotonic=clock)
    gauges.poll()
    project.save(report(release, "healthy"))
    clock.now = 14
    gauges.poll()
    assert 'status="healthy"} 0' in "\n".join(gauges.lines())
    clock.now = 16
    gauges.poll()
    assert 'status="healthy"} 1' in "\n".join(gauges.lines())
    before = gauges._found["flights"]
    clock.now = 32
    gauges.poll()
    assert gauges._found["flights"] is before


def test_records_that_cannot_be_read_are_not_shown_and_stop_nothing(project):
    clock = Clock()
    gauges = ModelGauges(project.state, ["flights"], monotonic=clock)
    gauges.poll()
    project.state.save("monitoring_report", b"broken", name="flights")
    clock.now = 20
    gauges.poll()
    assert list(gauges.lines()) == []


class Away:
    def last(self, name: str, pointer: str) -> None:
        raise StoreUnavailable("away")


def test_a_store_that_is_away_is_reported_and_asked_again(project):
    gauges = ModelGauges(Away(), ["flights"])
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            gauges.poll()


def test_the_last_audit_of_the_certificate_of_the_live_release_is_shown(project):
    release = rollouts.live(project, rollouts.release())
    audit = CertificateAudit(
        name="flights",
        release=release,
        status="broken",
        message="",
        limit=0.05,
        n_drawn=60,
        n_labeled=50,
        n_overdue=0,
        rows_to_detect=200,
        risk=measured("answer.audited_risk", 0.2, 0.1, 0.3),
        withdrawn=("delivery", "refund"),
    )
    project.save(audit)
    found = shown(project)
    assert found["certificate_withdrawn"] == {(): 2}
    assert found["certificate_risk"] == {("value",): 0.2, ("low",): 0.1, ("high",): 0.3}

    project.save(replace(audit, risk=None, withdrawn=()))
    assert shown(project)["certificate_withdrawn"] == {(): 0} and "certificate_risk" not in shown(project)
    rollouts.live(project, rollouts.release(threshold=0.4))
    assert "certificate_withdrawn" not in shown(project)
