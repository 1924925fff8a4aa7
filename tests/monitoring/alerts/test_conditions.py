"""Test by which records each condition holds."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.alerts import alerting_projects as projects
from tests.monitoring.alerts.alerting_projects import report
from tests.reporting.served_features import REPLAY, SKEW

from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.exposure import exposure_of
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.monitoring import KeyProbing, ProbingReport, Ticket
from headway.core.rollout import Rollout
from headway.core.selective import CertificateAudit
from headway.core.threads import this_machine
from headway.core.threats import CATALOGUE_VERSION, RequirementCoverage, ThreatAssessment
from headway.core.value_replay import ViewReplay
from headway.core.verdict import Rule
from headway.monitoring.condition import ConditionState, Facts, condition_names, judge_condition
from headway.monitoring.servers import ServerMetrics, parse_metrics
from headway.monitoring.settings.alert import AlertRule
from headway.monitoring.task_runs import save_run
from headway.registry.project import Project

NOW = datetime(2026, 1, 5, tzinfo=UTC)
RULE = AlertRule(name="ops", to="webhook")
pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path) -> Project:
    return projects.project(tmp_path, "")


def judged(project: Project, condition: str, rule: AlertRule = RULE, now: datetime = NOW) -> ConditionState | None:
    return judge_condition(condition, Facts(project, now=now), rule)


def is_firing(project: Project, condition: str, rule: AlertRule = RULE, now: datetime = NOW) -> bool:
    state = judged(project, condition, rule, now)
    assert state is not None
    assert state.summary
    return state.is_firing


def test_of_a_project_without_a_release_nothing_fires(project):
    states = [judged(project, condition) for condition in condition_names()]
    assert not any(state.is_firing for state in states if state)
    assert [condition for condition, state in zip(condition_names(), states, strict=True) if state] == [
        "ticket",
        "refused_pointer",
        "greet",
    ]


def test_degradation_is_that_of_the_last_period_that_labels_could_judge(project):
    release = rollouts.live(project, rollouts.release())
    assert not is_firing(project, "degradation")
    project.save(report(release, "degraded", day=0))
    project.save(report(release, "unknown", day=1))
    assert is_firing(project, "degradation")
    project.save(report(release, "healthy", day=1))
    assert not is_firing(project, "degradation")


def test_what_was_shown_of_a_release_says_nothing_of_the_next_one(project):
    first = rollouts.live(project, rollouts.release())
    project.save(report(first, "degraded", alarm=True))
    assert is_firing(project, "degradation") and is_firing(project, "drift")
    rollouts.live(project, rollouts.release(threshold=0.4))
    assert not is_firing(project, "degradation") and not is_firing(project, "drift")


WEATHER = FeatureView(
    name="weather",
    version=2,
    entities=("station",),
    source=FeatureSource(location="weather.parquet"),
    features=(Feature(name="a"),),
)


def test_wrong_values_of_features_are_sent_until_a_replay_finds_none(project):
    release = rollouts.live(project, rollouts.release(views=(WEATHER,)))
    assert judged(project, "value_skew") is None

    project.save(replace(REPLAY, release=release))
    skewed = judged(project, "value_skew")
    assert skewed is not None and skewed.is_firing
    assert skewed.page == "/data/features"
    assert skewed.summary == (
        "requests see wrong values of features: temp of weather@v2: the values have another unit (temp is 1.8 times "
        "the value), in 500 of 1,000 rows, since 2026-03-01 00:00 UTC (kind: unit); next: headway features replay"
    )
    another = replace(REPLAY.views[0], skews=(replace(SKEW, kind="stale"),))
    project.save(replace(REPLAY, release=release, views=(another,)))
    next_one = judged(project, "value_skew")
    assert next_one is not None and next_one.subject != skewed.subject, "another skew is another alert"

    project.save(replace(REPLAY, release=release, views=()))
    assert judged(project, "value_skew") is None, "a view that could not be replayed ends no alert"
    project.save(replace(REPLAY, release=release, views=(ViewReplay(view="weather@v2", n_rows=1_000),), unknown={}))
    assert not is_firing(project, "value_skew")


def test_values_of_a_release_without_views_are_not_wrong(project):
    rollouts.live(project, rollouts.release())
    assert not is_firing(project, "value_skew")


def test_a_key_that_probes_is_sent_until_a_later_report_finds_none(project):
    release = rollouts.live(project, rollouts.release())
    found = KeyProbing(
        day="2026-01-04", api_key="eve", rows=900, distinct=800, e_value=9e9, sign="bisection", shares={}, is_found=True
    )
    report = ProbingReport(name=project.name, release=release, at="2026-01-05T00:00:00+00:00", limit=100.0)
    assert judged(project, "probing") is None
    project.save(replace(report, keys=(replace(found, throttled=True),)))
    state = judged(project, "probing")
    assert state.is_firing and "eve on 2026-01-04 (900 rows, bisection, throttled)" in state.summary
    project.save(replace(report, keys=(replace(found, is_found=False),)))
    assert not is_firing(project, "probing")
    project.save(replace(report, reason="too few rows"))
    assert judged(project, "probing") is None


def test_a_broken_certificate_is_sent_until_another_release_is_live(project):
    release = rollouts.live(project, rollouts.release())
    assert judged(project, "certificate") is None
    unknown = CertificateAudit(
        name="flights",
        release=release,
        status="unknown",
        message="not known",
        limit=0.05,
        n_drawn=0,
        n_labeled=0,
        n_overdue=0,
        rows_to_detect=100,
    )
    project.save(unknown)
    assert judged(project, "certificate") is None
    project.save(replace(unknown, status="holds"))
    assert not is_firing(project, "certificate")

    project.save(replace(unknown, status="broken", withdrawn=("refund",), message="too many answers were wrong"))
    broken = judged(project, "certificate")
    assert broken is not None and broken.is_firing and broken.subject == f"{release} refund"

    rollouts.live(project, rollouts.release(threshold=0.4))
    assert judged(project, "certificate") is None


def test_periods_that_cannot_be_judged_count_in_a_row(project):
    release = rollouts.live(project, rollouts.release())
    project.save(report(release, "healthy", day=0))
    project.save(report(release, "unknown", day=1))
    day = datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert not is_firing(project, "not_judged", now=day)
    assert is_firing(project, "not_judged", AlertRule(name="ops", to="webhook", periods=1), day)
    project.save(report(release, "unknown", day=2))
    assert is_firing(project, "not_judged", now=day)


def test_days_of_the_log_without_any_report_cannot_be_judged_either(project):
    release = rollouts.live(project, rollouts.release())
    project.save(report(release, "healthy", day=0))
    assert not is_firing(project, "not_judged", now=datetime(2026, 1, 3, 23, tzinfo=UTC))
    assert is_firing(project, "not_judged", now=datetime(2026, 1, 5, 1, tzinfo=UTC))


def test_a_release_that_is_live_for_long_without_any_report_cannot_be_judged(project):
    rollouts.live(project, rollouts.release())
    now = datetime.now(UTC)
    assert not is_firing(project, "not_judged", now=now + timedelta(days=70))
    assert is_firing(project, "not_judged", now=now + timedelta(days=95))


def test_a_table_of_the_past_is_not_missing(project):
    release = rollouts.live(project, rollouts.release())
    project.save(report(release, "healthy", day=0, source="table"))
    assert not is_firing(project, "not_judged", now=datetime(2027, 1, 1, tzinfo=UTC))


def test_a_ticket_is_open_until_another_release_is_live(project):
    release = rollouts.live(project, rollouts.release())
    ticket = Ticket(
        name="flights", release=release, reasons=("rows",), why="labeled rows grew", at="2026-01-01T00:00:00"
    )
    project.save(ticket)
    assert is_firing(project, "ticket")
    rollouts.live(project, rollouts.release(threshold=0.4))
    assert not is_firing(project, "ticket")


def test_a_rollback_by_hand_holds_until_the_next_release(project):
    rollouts.live(project, rollouts.release())
    assert not is_firing(project, "rollback")
    rollouts.live(project, rollouts.release(threshold=0.4))
    project.registry.roll_back("flights@live", who="bob", why="too many refusals")
    first = judged(project, "rollback")
    assert first and first.is_firing and "bob moved live back" in first.summary
    project.registry.roll_forward("flights@live", who="bob", why="no, that was not it")
    second = judged(project, "rollback")
    assert second and second.is_firing and second.subject != first.subject
    rollouts.live(project, rollouts.release(threshold=0.3))
    assert not is_firing(project, "rollback")


def test_a_rollout_that_was_rolled_back_holds_until_live_moves_on(project):
    live = rollouts.live(project, rollouts.release())
    at = (datetime.now(UTC) + timedelta(seconds=1)).astimezone().isoformat(timespec="milliseconds")
    rollout = Rollout(
        name="flights",
        release=rollouts.publish(project, rollouts.release(threshold=0.4)),
        live=live,
        salt="",
        rules=(Rule(measure="error_rate.drop", at_most=0.01),),
        status="rolled back",
        stage_at=at,
        why="canary 5 % is rolled back: 8 % of requests failed",
    )
    project.save(rollout)
    state = judged(project, "rollback")
    assert state and state.is_firing and "8 % of requests failed" in state.summary


def test_a_release_whose_files_were_changed_is_a_refused_pointer(project):
    release = rollouts.live(project, rollouts.release())
    assert not is_firing(project, "refused_pointer")
    folder = project.registry.folder / "flights" / release.removeprefix("sha256:")
    (folder / "model.echo").write_bytes(b"other")
    assert is_firing(project, "refused_pointer")
    shutil.rmtree(folder)
    assert is_firing(project, "refused_pointer")


def contract_check(share: float, at: str) -> Evidence:
    measured = Measurement(
        name="contract.failing", value=share, low=share, high=share, n_rows=1000, n_groups=1000, method=""
    )
    return Evidence(
        subject="sha256:contract",
        dataset=f"sha256:{share}",
        period="contract",
        machine=this_machine(),
        measurements=(measured,),
        findings=(Finding(code="D048", severity="warn", message=""),),
        at=at,
    )


def test_the_share_in_quarantine_is_that_of_the_last_contract_check(project):
    assert judged(project, "quarantine") is None
    project.save(contract_check(0.2, "2026-01-01"))
    assert is_firing(project, "quarantine")
    assert not is_firing(project, "quarantine", AlertRule(name="ops", to="webhook", quarantine_share=0.3))
    project.save(contract_check(0.001, "2026-01-02"))
    assert not is_firing(project, "quarantine")


def test_a_task_that_failed_fires_until_it_ends_well(project):
    began = datetime.now(UTC)
    save_run(project, "watch", started_at=began, outcome="failed", message="no table")
    save_run(project, "check", started_at=began, outcome="done", message="")
    state = judged(project, "task_failed")
    assert state and state.is_firing and "watch failed: no table" in state.summary
    save_run(project, "watch", started_at=began, outcome="attention", message="drifted")
    assert not is_firing(project, "task_failed")


METRICS = """\
headway_slo_bad_total{objective="latency"} 500
headway_slo_allowed{objective="latency"} 0.01
headway_slo_burn{objective="latency",window="5m"} %s
headway_slo_burn{objective="latency",window="1h"} 15.2
headway_log_healthy %s
headway_log_lag_seconds %s
headway_pointer_refused{pointer="flights@live"} %s
"""


def of_server(*values: float) -> Facts:
    """Facts of a project whose one server has these metrics."""
    server = ServerMetrics(address="http://a", at_s=0.0, samples=parse_metrics(METRICS % values))
    facts = Facts.__new__(Facts)
    facts.__dict__ |= {"servers": [server], "release": "sha256:1", "refused": "", "live": None, "name": "flights"}
    facts.project = NAMED
    return facts


NAMED = SimpleNamespace(name="flights")


@pytest.mark.parametrize(("short", "fires"), [(14.5, True), (14.3, False), (math.inf, True)])
def test_an_error_budget_burns_if_the_long_and_the_short_window_say_so(short, fires):
    state = judge_condition("slo_burn", of_server(short, 1, 0, 0), RULE)
    assert state and state.is_firing == fires
    assert ("latency at 15.2 times its budget" in state.summary) == fires


def test_a_pointer_that_a_server_refused_is_named_with_the_server():
    state = judge_condition("refused_pointer", of_server(0, 1, 0, 1), RULE)
    assert state and state.is_firing and "http://a refused the last update of flights@live" in state.summary


def test_a_server_that_must_answer_and_does_not_is_down(tmp_path):
    project = projects.project(tmp_path, "", more='[ui]\nservers = ["http://127.0.0.1:1"]\n')
    state = judged(project, "server_down")
    assert state and state.is_firing and "http://127.0.0.1:1: it refused the connection" in state.summary
    assert judged(project, "slo_burn") is None and judged(project, "log_lag") is None


@pytest.mark.parametrize(("healthy", "lag", "fires"), [(1, 3, False), (1, 61, True), (0, 0, True)])
def test_a_log_is_behind_if_rows_wait_or_it_cannot_be_written(healthy, lag, fires):
    state = judge_condition("log_lag", of_server(0, healthy, lag, 0), RULE)
    assert state and state.is_firing == fires


def test_a_threat_that_is_not_covered_any_more_and_an_assessment_that_is_over_fire(project):
    assert judged(project, "threats") is None
    digest = rollouts.live(project, rollouts.release())
    gap = RequirementCoverage(
        id="AML.T0015", standard="MITRE ATLAS", topic="evasion", level=1, title="", coverage="gap"
    )
    made = ThreatAssessment(
        name="flights",
        at=NOW.isoformat(),
        by="ada",
        headway="0.1.0",
        number=1,
        catalogue=CATALOGUE_VERSION,
        requirements=(gap,),
        release=digest,
        exposure=exposure_of(project.config),
        due="2026-04-05",
    )
    project.save(made)
    assert not is_firing(project, "threats")
    assert is_firing(project, "threats", now=NOW + timedelta(days=100))
    project.save(replace(made, opened=("AML.T0015",)))
    state = judged(project, "threats")
    assert state and state.is_firing
    assert state.summary == "gaps that were none before: AML.T0015"
    project.save(replace(made, exposure={}))
    assert judged(project, "threats").summary.startswith("the threats are to be assessed again: exposure")
