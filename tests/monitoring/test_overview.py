"""State of a model: what makes it healthy, what needs a person, and what cannot be judged."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.reporting.served_features import REPLAY, SKEW

from headway.core.evidence import Finding, Measurement
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.monitoring import INPUT_BROKE, Drift, MonitoringAnswer, MonitoringReport, MonitoringStatus, Ticket
from headway.core.release import version_of
from headway.core.selective import AuditStatus, CertificateAudit
from headway.core.value_replay import ViewReplay
from headway.data.sampled import open_for_checks
from headway.monitoring import rollout as control
from headway.monitoring.assessment.assess import assess
from headway.monitoring.overview import ModelState, data_state, describe_opening, mark_checked, model_state
from headway.monitoring.servers import ServerMetrics, parse_metrics
from headway.monitoring.task_runs import save_run
from headway.registry.project import Project
from headway.reporting.text.overview import live_parts, status_lines

NOW = datetime(2026, 11, 3, tzinfo=UTC)
P = Measurement(name="drift.p", value=0.4, low=0.4, high=0.4, method="exact", n_rows=1)
ANSWERED = (MonitoringAnswer(question="degradation", level=0.01),)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()


def watched(release: str, status: MonitoringStatus = "healthy", **changes: object) -> MonitoringReport:
    """A report on October 2026."""
    made = MonitoringReport(
        name="flights",
        release=release,
        period="2026-10",
        since="2026-10-01T00:00:00",
        until="2026-11-01T00:00:00",
        n_rows=1000,
        n_labeled=1000,
        status=status,
        message="2026-10: no degradation is shown; no action is needed.",
        drift=Drift(alarm=False, measurements=(P,)),
        answers=ANSWERED,
    )
    return replace(made, **changes)


def served(project: Project, text: str = "", *, release: str = "") -> ServerMetrics:
    """A server that answers with a release, by default the live one, and has further metrics."""
    head = project.registry.head("flights@live")
    version = version_of(release or (head.release if head else "sha256:" + 64 * "0"))
    info = f'headway_release_info{{model="flights",version="{version}"}} 1\n'
    return ServerMetrics(address="http://a:1", at_s=0.0, samples=parse_metrics(info + text))


def codes(state: ModelState) -> list[str]:
    return [condition.code for condition in state.conditions]


def test_nothing_live_cannot_be_judged(project):
    state = model_state(project, now=NOW)
    assert (state.state, codes(state)) == ("cannot be judged", ["nothing live"])
    assert state.sentence == "No release is live."
    assert state.command == "headway release"


def test_a_live_release_that_was_never_watched_cannot_be_judged(project):
    rollouts.live(project, rollouts.release())
    state = model_state(project, now=NOW)
    assert (state.state, codes(state)) == ("cannot be judged", ["never watched"])
    assert state.command == "headway watch --source log", "this project has no table"


def test_a_period_that_was_judged_in_time_without_findings_is_healthy(project):
    digest = rollouts.live(project, rollouts.release())
    project.save(watched(digest))
    state = model_state(project, servers=[served(project)], declared=True, now=NOW)
    assert (state.state, codes(state)) == ("healthy", [])
    assert state.sentence == "No degradation is shown in 2026-10."
    assert state.live is not None
    assert (state.live.release, state.live.who) == (digest, "ann")
    assert state.watched is not None
    assert (state.watched.period, state.watched.age_s) == ("2026-10", 2 * 86_400)


def test_a_model_that_was_not_watched_for_a_period_is_never_healthy(project):
    project.save(watched(rollouts.live(project, rollouts.release())))
    assert model_state(project, now=NOW + timedelta(days=30)).state == "healthy"  # 32 days, of 31 and an eighth
    state = model_state(project, now=NOW + timedelta(days=34))
    assert (state.state, codes(state)) == ("cannot be judged", ["not watched"])
    assert "36 days ago" in state.sentence


WEATHER = FeatureView(
    name="weather",
    version=2,
    entities=("station",),
    source=FeatureSource(location="weather.parquet"),
    features=(Feature(name="a"),),
)


def replayed(project: Project, **changes: object) -> ModelState:
    """The state of a healthy model with the view weather after a replay on the day before."""
    digest = rollouts.live(project, rollouts.release(views=(WEATHER,)))
    project.save(watched(digest))
    clean = replace(REPLAY, release=digest, views=(ViewReplay(view="weather@v2", n_rows=9),), unknown={})
    project.save(replace(clean, **{"at": "2026-11-02T00:00:00+00:00", **changes}))
    return model_state(project, now=NOW)


def test_right_values_of_feature_views_are_healthy(project):
    state = replayed(project)
    assert (state.state, codes(state), state.views) == ("healthy", [], ("weather@v2",))


def test_wrong_values_of_feature_views_need_attention(project):
    state = replayed(project, views=REPLAY.views, findings=(Finding(code="O013", severity="warn", message="x"),))
    assert (state.state, codes(state)) == ("attention", ["values differ"])
    assert state.sentence.startswith("Requests saw wrong values of temp of weather@v2: the values have another unit")
    assert (state.command, state.conditions[0].detail) == ("headway features replay", "X.")


def test_several_skews_are_counted_and_an_unknown_view_is_named_too(project):
    view = replace(REPLAY.views[0], skews=(SKEW, replace(SKEW, kind="stale")))
    state = replayed(project, views=(view,), unknown={"planes@v1": "the source is gone"})
    assert codes(state) == ["values differ", "values not replayed"]
    assert state.sentence.endswith("2 skews were found.")
    assert "planes@v1: the source is gone" in state.conditions[1].message


def test_values_that_could_not_be_compared_or_not_lately_cannot_be_judged(project):
    nothing = replayed(project, n_rows=0)
    old = replayed(project, at="2026-11-01T00:00:00+00:00")
    for state in (nothing, old):
        assert (state.state, codes(state)) == ("cannot be judged", ["values not replayed"])
    assert "no row is logged" in nothing.sentence and "last compared on 2026-11-01" in old.sentence


def test_views_that_were_never_replayed_cannot_be_judged(project):
    project.save(watched(rollouts.live(project, rollouts.release(views=(WEATHER,)))))
    state = model_state(project, now=NOW)
    assert (state.state, codes(state)) == ("cannot be judged", ["values not replayed"])
    assert "no replay was made" in state.sentence


def audited(project: Project, status: AuditStatus) -> ModelState:
    """The state of a healthy model after an audit of its certificate with this result."""
    release = rollouts.live(project, rollouts.release())
    project.save(watched(release))
    audit = CertificateAudit(
        name="flights",
        release=release,
        status=status,
        message="too many answers were wrong",
        limit=0.05,
        n_drawn=40,
        n_labeled=40,
        n_overdue=0,
        rows_to_detect=100,
        at="2026-01-02T00:00:00+00:00",
    )
    project.save(audit)
    return model_state(project, now=datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("status", "state", "expected"),
    [
        ("holds", "healthy", []),
        ("broken", "attention", ["certificate withdrawn"]),
        ("unknown", "cannot be judged", ["certificate not judged"]),
    ],
)
def test_a_certificate_is_part_of_the_state(project, status, state, expected):
    found = audited(project, status)

    assert (found.state, codes(found)) == (state, expected)
    assert "  answers  too many answers were wrong (audited on 2026-01-02)" in status_lines(found, None)
    assert "too many answers were wrong" in live_parts(found, None)["answers"].text


def test_a_replay_of_another_release_says_nothing(project):
    replayed(project)
    project.save(watched(rollouts.live(project, rollouts.release(views=(WEATHER,), threshold=0.4))))
    assert codes(model_state(project, now=NOW)) == ["values not replayed"]


@pytest.mark.parametrize(
    ("status", "changes", "expected"),
    [
        ("degraded", {}, "attention"),
        ("unknown", {}, "cannot be judged"),
        ("drifted", {"answers": ()}, "attention"),
        ("drifted", {}, "healthy"),
        (
            "drifted",
            {
                "drift": Drift(
                    alarm=True, measurements=(P,), findings=(Finding(code=INPUT_BROKE, severity="warn", message="x"),)
                )
            },
            "attention",
        ),
    ],
)
def test_the_status_of_the_last_period_decides(project, status, changes, expected):
    project.save(watched(rollouts.live(project, rollouts.release()), status, **changes))
    assert model_state(project, now=NOW).state == expected


def test_what_is_shown_to_be_worse_is_named_and_the_report_has_the_details(project):
    shown = (MonitoringAnswer(question="degradation", level=0.01, shown=("roc_auc.change", "cost")),)
    project.save(watched(rollouts.live(project, rollouts.release()), "degraded", answers=shown, message="AUC -0.05"))
    (condition,) = model_state(project, now=NOW).conditions
    assert condition.message == "In 2026-10 it ranks worse and its decisions cost more than when it was judged."
    assert condition.detail == "AUC -0.05."


def test_only_ended_periods_of_the_live_release_count(project):
    first = rollouts.live(project, rollouts.release(made_at="1"))
    project.save(watched(first))
    second = rollouts.live(project, rollouts.release(made_at="2"))
    assert codes(model_state(project, now=NOW)) == ["never watched"]
    project.save(watched(second, is_complete=False))
    assert codes(model_state(project, now=NOW)) == ["never watched"]
    control.roll_back(project, from_release=control.release_to_leave(project), who="ada", why="callers complain")
    assert model_state(project, now=NOW).state == "healthy"


def test_a_ticket_of_an_earlier_version_has_the_time_of_its_data_and_no_age(project):
    digest = rollouts.live(project, rollouts.release(made_at="1"))
    project.save(Ticket(name="flights", release=digest, reasons=("rows",), why="rows grew", at="1997-05-01T00:00:00"))
    [ticket] = [condition for condition in model_state(project, now=NOW).conditions if condition.code == "ticket open"]
    assert ticket.message == "A ticket proposes to retrain, opened by the data of 1997-05-01: rows grew."
    assert describe_opening(Ticket(name="", release="", reasons=(), why="")) == "open"


def test_an_open_ticket_needs_a_person_until_another_release_is_live(project):
    digest = rollouts.live(project, rollouts.release(made_at="1"))
    project.save(watched(digest))
    project.save(
        Ticket(
            name="flights",
            release=digest,
            reasons=("rows",),
            why="rows grew by 60%",
            at="1997-05-01T00:00:00",
            opened_at="2026-11-01T00:00:00+00:00",
        )
    )
    state = model_state(project, now=NOW)
    assert (state.state, codes(state)) == ("attention", ["ticket open"])
    assert state.sentence == "A ticket proposes to retrain, open for 2 days: rows grew by 60%."
    assert any("tickets: one, open since 2026-11-01" in line for line in status_lines(state, None))
    rollouts.live(project, rollouts.release(made_at="2"))
    assert model_state(project, now=NOW).ticket is None


def test_a_running_rollout_is_shown_and_needs_a_person_once_its_stage_is_over_its_time(project):
    project.save(watched(rollouts.live(project, rollouts.release(made_at="1"))))
    digest = rollouts.publish(project, rollouts.release(made_at="2"))
    rollout = control.start_rollout(project, digest, plan=rollouts.SHORT, who="ann", why="faster")
    began = datetime.fromisoformat(rollout.stage_at)
    state = model_state(project, now=began)
    assert state.rollout is not None
    assert state.rollout.release == digest
    assert "rollout overdue" not in codes(state)
    assert "rollout overdue" in codes(model_state(project, now=began + timedelta(hours=25)))


def test_without_any_answer_of_a_declared_server_it_is_broken(project):
    project.save(watched(rollouts.live(project, rollouts.release())))
    away = ServerMetrics(address="http://b:1", at_s=0.0, problem="it refused the connection")
    state = model_state(project, servers=[away], declared=True, now=NOW)
    assert (state.state, codes(state)) == ("broken", ["no server answers"])
    assert state.sentence == "No server answers (http://b:1: it refused the connection)."
    state = model_state(project, servers=[served(project), away], declared=True, now=NOW)
    assert (state.state, codes(state)) == ("attention", ["a server does not answer"])
    assert model_state(project, servers=[away], now=NOW).state == "healthy"  # it need not run


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('headway_pointer_refused{pointer="flights@live"} 1', "a server refuses the release"),
        ("headway_log_healthy 0", "log not written"),
        ('headway_store_up{role="state"} 0', "store away"),
    ],
)
def test_what_a_server_reports_of_itself_needs_a_person(project, text, code):
    project.save(watched(rollouts.live(project, rollouts.release())))
    state = model_state(project, servers=[served(project, text)], now=NOW)
    assert (state.state, codes(state)) == ("attention", [code])


def test_a_burning_error_budget_is_broken_and_comes_first(project):
    project.save(watched(rollouts.live(project, rollouts.release()), "degraded"))
    burn = "".join(f'headway_slo_burn{{objective="latency",window="{window}"}} 20\n' for window in ("1h", "5m"))
    burn += 'headway_slo_bad_total{objective="latency"} 50\nheadway_slo_allowed{objective="latency"} 0.01\n'
    state = model_state(project, servers=[served(project, burn)], now=NOW)
    assert (state.state, codes(state)) == ("broken", ["error budget burns", "degraded"])


def test_a_server_with_another_release_needs_a_person(project):
    first = rollouts.live(project, rollouts.release(made_at="1"))
    second = rollouts.live(project, rollouts.release(made_at="2"))
    project.save(watched(second))
    assert model_state(project, servers=[served(project)], now=NOW).state == "healthy"
    assert codes(model_state(project, servers=[served(project, release=first)], now=NOW)) == ["another release answers"]


def test_an_edited_pointer_is_broken(project):
    rollouts.live(project, rollouts.release())
    project.registry.trusted_keys.write_text("")
    state = model_state(project, now=NOW)
    assert (state.state, codes(state)) == ("broken", ["pointer not trusted"])


def test_a_withdrawn_release_is_named_with_who_and_why(project):
    rollouts.live(project, rollouts.release())
    project.registry.withdraw("flights@live", who="ada", why="wrong table")
    assert model_state(project, now=NOW).sentence == "Live was withdrawn by ada: wrong table."


def test_replayed_data_are_judged_at_their_own_time(project):
    project.save(watched(rollouts.live(project, rollouts.release())))
    project.state.save("stamp", b"a program that replays old data", name="flights")
    state = model_state(project, now=NOW + timedelta(days=4000))
    assert (state.state, state.replay, state.at) == ("healthy", True, "2026-11-01T00:00:00+00:00")


def check(project: Project) -> None:
    """Check the data as `headway check` does."""
    with open_for_checks(project.config) as dataset:
        assess(project, dataset, who="ann")


def test_data_that_arrived_after_the_last_check_need_one(tmp_path):
    table = tmp_path / "table.csv"
    settings = 'source = "table.csv"\ntarget = "y"\n'
    project = rollouts.project(tmp_path, toml=f"{rollouts.TOML}[data]\n{settings}")
    assert data_state(project).arrival == "not visible"  # the file is absent
    table.write_text("a,b,y\n" + "".join(f"{row},{row % 7},{row % 2}\n" for row in range(50)))
    assert data_state(project).arrival == "not assessed"
    assert "data not assessed" in codes(model_state(project, now=NOW))

    check(project)
    assert data_state(project).arrival == "assessed"
    later = datetime.now(UTC).timestamp() + 60
    os.utime(table, (later, later))
    assert data_state(project).arrival == "not assessed"
    project.state.close()


def test_a_check_that_finds_nothing_new_covers_a_file_that_was_written_again(tmp_path):
    (tmp_path / "table.csv").write_text("a,b,y\n" + "".join(f"{row},{row % 7},{row % 2}\n" for row in range(50)))
    toml = f'{rollouts.TOML}[data]\nsource = "table.csv"\ntarget = "y"\n'
    project = rollouts.project(tmp_path, toml=toml)
    check(project)
    first, checked = data_state(project), tmp_path / ".headway/checked"
    os.utime(checked, (0, 0))
    check(project)
    assert checked.stat().st_mtime > 0
    later = time.time() + 60
    os.utime(tmp_path / "table.csv", (later, later))
    assert data_state(project).arrival == "not assessed"
    mark_checked(project.config, int((later + 1) * 1e9))
    again = data_state(project)
    assert (again.arrival, again.assessed_at) == ("assessed", first.assessed_at)
    project.state.close()


def test_a_database_hides_whether_data_arrived(tmp_path):
    toml = f'{rollouts.TOML}[data]\nsource = "postgresql://db.example/flights"\nquery = "select 1"\n'
    project = rollouts.project(tmp_path, toml=toml)
    assert data_state(project).arrival == "not visible"
    project.state.close()


def test_a_task_of_the_schedule_that_failed_needs_a_person_until_it_ends_well(project):
    live = rollouts.live(project, rollouts.release())
    project.save(watched(live))
    save_run(project, "erase", started_at=datetime.now(UTC), outcome="failed", message="no publisher key")
    state = model_state(project)
    assert "task failed" in codes(state)
    (found,) = [one for one in state.conditions if one.code == "task failed"]
    assert (found.detail, found.command) == ("No publisher key.", "headway run --task erase")
    save_run(project, "erase", started_at=datetime.now(UTC), outcome="done", message="")
    assert "task failed" not in codes(model_state(project))


def test_asking_for_a_state_imports_no_dataframe_library():
    heavy = "polars, altair, vl_convert, sklearn, onnxruntime"
    code = (
        "import sys; import headway.monitoring.overview, headway.reporting.text.overview; "
        f"print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
