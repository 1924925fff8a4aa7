"""The log of a release with views: its values are replayed, and each feature has its cost, worth, age and gaps."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.serving.flushed_log import FlushedLog

from headway.cli.main import main
from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureReport
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.monitoring import Drift, MonitoringReport
from headway.core.value_replay import ValueReplay
from headway.evaluation.feature_worth import Ablation
from headway.features import catalog
from headway.features.definitions import feature_view
from headway.features.materialize import materialize_views
from headway.features.online_rows import DEFERRED_US
from headway.monitoring.feature_values import allowed_lag_s, build_feature_report, replay_log, replay_new
from headway.monitoring.prediction_log import read_predictions
from headway.monitoring.task_runs import last_run, save_run
from headway.registry.project import open_project
from headway.serving.loading import load_model
from headway.serving.telemetry.prediction_log import LogEntry
from headway.storage import traffic
from headway.storage.addresses import open_online

pytestmark = pytest.mark.slow
DAY = datetime(2026, 3, 1, tzinfo=UTC)
STATIONS = 4
REQUESTS = 60


@pytest.fixture
def source() -> pl.DataFrame:
    """Hourly observations of a day at each station."""
    hours = [DAY + timedelta(hours=hour) for hour in range(24)]
    return pl.DataFrame(
        {
            "station": [f"s{station}" for station in range(STATIONS) for _ in hours],
            "observed_at": hours * STATIONS,
            "a": [float(100 * station + hour) for station in range(STATIONS) for hour in range(24)],
        }
    )


@pytest.fixture
def project(tmp_path, source):
    """A project whose live release reads `a` from the view `weather`, and `b` from the request."""
    opened = rollouts.project(tmp_path)
    source.write_parquet(tmp_path / "weather.parquet")
    view = FeatureView(
        name="weather",
        entities=("station",),
        source=FeatureSource(location="weather.parquet", event_time="observed_at"),
        ttl_s=6 * 3_600,
        features=(Feature(name="a"),),
    )
    [version] = catalog.apply(opened.state, [view], who="ann")
    with closing(open_online(opened.config)) as store:
        newest = source.filter(pl.col("observed_at") == pl.col("observed_at").max())
        store.write(
            version.view.online_table,
            newest["station"].to_list(),
            newest.select("a").to_numpy(),
            newest["observed_at"].dt.timestamp("us").to_numpy(),
        )
    rollouts.live(opened, rollouts.release(views=(replace(version.view, columns=("a",)),)))
    yield opened
    opened.state.close()
    opened.registry.state.close()


def log(
    project,
    source: pl.DataFrame,
    *,
    factor: float = 1.0,
    lag_h: int = 0,
    numbers: range = range(REQUESTS),
    rows_each: int = 1,
    deferred: int = 0,
    release: str = "live",
) -> None:
    """Log requests of one station after the other, a quarter of an hour apart, with the values of some hours before.

    The first `deferred` were not looked up.
    """
    with closing(open_online(project.config)) as store:
        model = load_model(project.registry.resolve(f"flights@{release}"), store)
    known = {(station, at): a for station, at, a in source.iter_rows()}
    flushed = FlushedLog(project.config.state)
    for number in numbers:
        station, at = f"s{number % STATIONS}", DAY + timedelta(hours=6, minutes=15 * number)
        seen = at.replace(minute=0) - timedelta(hours=lag_h)
        value = np.nan if number < deferred else known[station, seen] * factor
        seen_us = DEFERRED_US if number < deferred else int(seen.timestamp() * 1e6)
        rows = np.repeat([[value, 0.5]], rows_each, axis=0)
        flushed.add(
            LogEntry(
                release=model,
                at_us=int(at.timestamp() * 1e6),
                requests=np.array([number]),
                keys=[station],
                sizes=[rows_each],
                latency_ns=np.array([1000]),
                role=traffic.LIVE,
                answered=1,
                stage=traffic.ALONE,
                paired=0,
                rows=rows,
                answers=rows[:, :1],
                seen=(np.full(rows_each, seen_us),),
            )
        )
    flushed.close()


RATIO = "(wind + a) / limit * if(sky = 'rain', 2, 1) + hour(at) + month(built)"


@pytest.fixture
def on_demand(tmp_path):
    """A project whose live release reads `a` of a view, and `b`, which is computed from the request and a view."""
    opened = rollouts.project(tmp_path)
    at = [DAY] * 2
    pl.DataFrame(
        {"station": ["s0", "s1"], "at": at, "a": [1.0, None], "wind": [3.0, 5.0], "sky": ["rain", None], "built": at}
    ).write_parquet(tmp_path / "weather.parquet")
    types = {"sky": "string", "built": "datetime"}
    weather = feature_view(
        "weather", entities=["station"], source="weather.parquet", event_time="at", types=types,
        features=["a", "wind", "sky", "built"], when_missing={"a": {"default": 4.0}},
    )  # fmt: skip
    trip = feature_view("trip", expressions={"half": RATIO})
    twice = feature_view("twice", expressions={"b": "half * 2"})
    versions = catalog.apply(opened.state, [weather, trip, twice], who="ann")
    with closing(open_online(opened.config)) as store:
        materialize_views(opened.state, store, folder=tmp_path)
    rollouts.live(opened, rollouts.release(views=tuple(version.view for version in versions)))
    yield opened
    opened.state.close()
    opened.registry.state.close()


def log_requests(project, *, change=lambda rows: rows, is_older: bool = False) -> None:
    """Log requests as a server completes them; `change` is what goes wrong with the rows of the model."""
    flushed = FlushedLog(project.config.state)
    with closing(open_online(project.config)) as store:
        model = load_model(project.registry.resolve("flights@live"), store)
        for number in range(REQUESTS):
            columns = {
                "station": ("BYTES", f"s{number % 3}"),
                "at": ("BYTES", f"2026-03-02T{number % 24:02}:30:00+02:00"),
                "limit": ("FP64", float(number + 1)),
            }
            inputs = [
                {"name": name, "shape": [1], "datatype": kind, "data": [value]}
                for name, (kind, value) in columns.items()
            ]
            found = model.features.get_online_features(
                model.reader.read(json.dumps({"inputs": inputs}).encode()).rows, [""]
            )
            rows = change(found.rows.copy())
            if is_older:  # the server logged only the entities, and when the values were observed
                model.features.logged_inputs, model.features.logged_texts = (), model.features.texts[:1]
                found = dataclasses.replace(found, seen=found.seen[:1], texts=found.texts[:1])
            flushed.add(
                LogEntry(
                    release=model,
                    at_us=int((DAY + timedelta(days=1, minutes=number)).timestamp() * 1e6),
                    requests=np.array([number]),
                    keys=[""],
                    sizes=[1],
                    latency_ns=np.array([1000]),
                    role=traffic.LIVE,
                    answered=1,
                    stage=traffic.ALONE,
                    paired=0,
                    rows=rows,
                    answers=rows[:, :1],
                    seen=found.seen,
                    texts=found.texts,
                )
            )
    flushed.close()


def test_features_on_demand_are_computed_again_from_what_was_logged(on_demand):
    log_requests(on_demand)

    found = replay_log(on_demand, live(on_demand), max_lag_s=0)

    assert (found.skews, found.unknown) == ((), {})
    assert [view.view for view in found.views] == ["weather@v1", "trip@v1", "twice@v1"]
    logged = pl.DataFrame(read_predictions(on_demand.config.state, "flights", [live(on_demand).digest]))
    assert logged["in.b"].is_not_nan().sum() == 40  # s2 is unknown
    assert {"input.limit", "input.wind", "input.built", "text.sky", "text.at"} <= set(logged.columns)


def test_a_feature_on_demand_in_another_unit_is_named(on_demand):
    log_requests(on_demand, change=lambda rows: rows * [1, 100])

    [skew] = replay_log(on_demand, live(on_demand), max_lag_s=0).skews

    assert (skew.view, skew.kind, skew.detail) == ("twice@v1", "unit", "b is 100 times the value")
    assert skew.features == ("b",) and skew.n_rows == 40


def test_a_stale_value_that_only_a_feature_on_demand_reads_is_a_skew_of_its_view(on_demand, tmp_path):
    weather = pl.read_parquet(tmp_path / "weather.parquet")
    newer = weather.with_columns(wind=pl.col("wind") + 1, sky=pl.lit("fog"), at=pl.col("at") + timedelta(hours=1))
    pl.concat([weather, newer]).write_parquet(tmp_path / "weather.parquet")
    log_requests(on_demand)

    found = replay_log(on_demand, live(on_demand), max_lag_s=0)

    assert {skew.view for skew in found.skews} == {"weather@v1"}
    assert {name for skew in found.skews for name in skew.features} >= {"wind", "sky"}


def test_values_of_another_version_of_a_view_on_demand_are_named(on_demand):
    catalog.apply(on_demand.state, [feature_view("twice", expressions={"b": "half * half"})], who="ann")
    log_requests(on_demand, change=lambda rows: np.stack([rows[:, 0], (rows[:, 1] / 2) ** 2], axis=1))

    [skew] = replay_log(on_demand, live(on_demand), max_lag_s=0).skews

    assert (skew.view, skew.kind, skew.detail) == ("twice@v1", "version", "values of twice@v2")


def test_a_log_without_the_inputs_of_features_on_demand_is_named(on_demand):
    log_requests(on_demand, is_older=True)

    found = replay_log(on_demand, live(on_demand), max_lag_s=0)

    assert list(found.unknown) == ["weather@v1", "trip@v1", "twice@v1"] and found.views == ()
    assert found.unknown["weather@v1"] == "the log lacks built, sky, wind"
    assert found.unknown["trip@v1"] == "the log has no 'at', which its features read: an earlier headway wrote it"


def live(project):
    return project.registry.resolve("flights@live")


def test_right_values_of_the_log_have_no_skew(project, source):
    log(project, source)

    found = replay_log(project, live(project), max_lag_s=0)

    assert (found.n_rows, found.skews, found.unknown) == (REQUESTS, (), {})
    assert [(view.view, view.n_rows) for view in found.views] == [("weather@v1", REQUESTS)]
    assert found.until_us - found.since_us == (REQUESTS - 1) * 15 * 60 * 1_000_000


def test_rows_that_were_not_looked_up_are_neither_skewed_nor_missing(project, source):
    log(project, source, deferred=20)

    replayed = replay_log(project, live(project), max_lag_s=0)
    [feature] = build_feature_report(project, live(project), {}).features

    assert (replayed.skews, replayed.views[0].n_rows) == ((), REQUESTS - 20)
    assert (feature.missing.value, feature.missing.n_rows, len(feature.age_s)) == (0, REQUESTS - 20, 2)


def test_a_feature_that_was_never_looked_up_has_neither_gaps_nor_age(project, source):
    log(project, source, deferred=REQUESTS)

    [feature] = build_feature_report(project, live(project), {}).features

    assert (feature.missing, feature.stale, feature.age_s) == (None, None, ())


def test_another_unit_in_the_log_is_named(project, source):
    log(project, source, factor=1.8)

    [skew] = replay_log(project, live(project), max_lag_s=0).skews

    assert (skew.view, skew.kind, skew.detail) == ("weather@v1", "unit", "a is 1.8 times the value")


def test_a_late_store_is_a_skew_beyond_the_lag_that_is_allowed(project, source):
    log(project, source, lag_h=1)

    strict, allowed = (replay_log(project, live(project), max_lag_s=lag) for lag in (0, 7_200))

    assert [skew.kind for skew in strict.skews] == ["stale"]
    assert (allowed.skews, allowed.views[0].n_lagging) == ((), REQUESTS)


def test_only_requests_since_a_time_are_replayed_and_at_most_so_many(project, source):
    log(project, source)
    since = int((DAY + timedelta(hours=12)).timestamp() * 1e6)

    assert replay_log(project, live(project), since_us=since, max_lag_s=0).n_rows == REQUESTS - 24
    newest = replay_log(project, live(project), max_rows=10, max_lag_s=0)
    assert (newest.n_rows, newest.n_left_out) == (10, REQUESTS - 10)


def test_a_request_whose_first_rows_are_left_out_is_left_out_as_a_whole(project, source):
    log(project, source, rows_each=3)

    found = replay_log(project, live(project), max_rows=7, max_lag_s=0)

    assert (found.n_rows, found.n_left_out, found.skews) == (6, 3 * REQUESTS - 6, ())
    assert replay_log(project, live(project), max_rows=2, max_lag_s=0).n_rows == 3, "one request is more than that"


def test_a_skew_is_a_finding_and_so_is_a_view_that_cannot_be_replayed(project, source, tmp_path):
    log(project, source, factor=1.8)
    [differs] = replay_log(project, live(project), max_lag_s=0).findings
    (tmp_path / "weather.parquet").unlink()
    [unknown] = replay_log(project, live(project), max_lag_s=0).findings

    assert (differs.code, differs.severity, differs.where) == ("O013", "warn", "weather@v1")
    assert differs.message.endswith("(a is 1.8 times the value), in 60 of 60 rows")
    assert (unknown.code, unknown.severity) == ("O014", "undecided")


def test_a_replay_of_new_requests_repeats_an_hour_of_the_last_one_and_keeps_the_begin_of_a_skew(project, source):
    log(project, source, factor=1.8, numbers=range(40))
    first = saved_replay(project)
    log(project, source, factor=1.8, numbers=range(40, REQUESTS))

    second = saved_replay(project)

    assert (first.n_rows, second.n_rows) == (40, 20 + 5)
    [begun], [going_on] = first.skews, second.skews
    assert going_on.since_us == begun.since_us
    assert going_on.until_us > begun.until_us


def test_a_skew_that_ended_is_not_in_the_next_replay(project, source):
    log(project, source, factor=1.8, numbers=range(30))
    first = saved_replay(project)
    log(project, source, numbers=range(30, REQUESTS))
    second = saved_replay(project)

    third = saved_replay(project)

    assert [replay.status for replay in (first, second, third)] == ["differs", "differs", "equal"]


def test_requests_of_a_view_that_could_not_be_replayed_are_repeated(project, source, tmp_path):
    log(project, source)
    (tmp_path / "weather.parquet").unlink()
    gone = saved_replay(project)
    source.write_parquet(tmp_path / "weather.parquet")

    back = saved_replay(project)

    assert (gone.status, gone.n_rows) == ("unknown", REQUESTS)
    assert (back.status, back.n_rows) == ("equal", REQUESTS)


def saved_replay(project) -> ValueReplay:
    found = replay_new(project, live(project), max_lag_s=0)
    project.save(found)
    return found


def test_the_lag_that_is_allowed_is_declared_or_that_of_the_schedule(project, tmp_path):
    never = allowed_lag_s(project)
    save_run(project, "materialize", started_at=DAY, outcome="done", message="")
    scheduled = allowed_lag_s(project)
    (tmp_path / "headway.toml").write_text(rollouts.TOML + '[features]\nmax_lag = "2h"\n')

    assert (never, scheduled, allowed_lag_s(open_project(tmp_path))) == (0, 27 * 3_600, 7_200)


def test_a_view_that_cannot_be_replayed_is_named_with_the_reason(project, source, tmp_path):
    empty = replay_log(project, live(project), max_lag_s=0)
    log(project, source)
    (tmp_path / "weather.parquet").unlink()

    gone = replay_log(project, live(project), max_lag_s=0)

    assert empty.unknown == {"weather@v1": "no request is logged"}
    assert gone.views == () and list(gone.unknown) == ["weather@v1"]


def test_a_view_of_an_earlier_headway_cannot_be_replayed(project, source):
    log(project, source)
    bundle = live(project)
    old = FeatureView(name="weather", table="weather.v1", columns=("a",))

    found = replay_log(project, dataclasses.replace(bundle, release=replace(bundle.release, views=(old,))), max_lag_s=0)

    assert "before views were declared" in found.unknown["weather"]


def test_each_feature_has_its_cost_worth_age_and_drift(project, source):
    log(project, source)
    project.save(monitored(live(project).digest))
    increase = measurement("components.brier.drop", 0.01)

    found = build_feature_report(project, live(project), {"a": Ablation(increase)})

    [cost], [feature] = found.costs, found.features
    assert (cost.view, cost.n_entities, cost.size_bytes) == ("weather@v1", STATIONS, STATIONS * 16)
    assert cost.lookup_us is not None and cost.lookup_us.low > 0
    assert (feature.name, feature.worth, feature.proposal) == ("a", increase, "")
    assert feature.missing is not None and (feature.missing.value, feature.missing.n_rows) == (0, REQUESTS)
    assert feature.stale is not None and feature.stale.value == 0
    assert feature.age_s == pytest.approx((22.5 * 60, 45 * 60))
    assert feature.drift is not None and feature.drift.value == 0.03
    assert found.unknown == ()


def test_what_leaving_out_a_feature_showed_is_its_proposal(project, source):
    found = build_feature_report(project, live(project), {"a": Ablation(None, "useless", "no error changes")})

    assert [(feature.proposal, feature.reason) for feature in found.features] == [("useless", "no error changes")]


def test_a_view_that_costs_more_than_it_is_worth_is_proposed_as_too_dear(project, source):
    nothing = measurement("components.brier.drop", 1e-9)

    found = build_feature_report(project, live(project), {"a": Ablation(nothing, "undecided", "few rows", 0.2)})

    [cost] = found.costs
    assert (cost.worth, cost.proposal) == (nothing, "too dear")
    assert "may take" in cost.reason


def test_what_is_not_known_is_named(project):
    found = build_feature_report(project, live(project), {})

    assert found.n_logged == 0
    assert [text.partition(":")[0] for text in found.unknown] == ["missing, stale and age", "drift", "worth"]
    assert found.costs[0].lookup_us is not None, "keys of the store stand for those of requests"


def test_a_store_without_the_table_leaves_the_cost_unknown(project, tmp_path):
    with closing(open_online(project.config)) as store:
        store.drop("weather.v1")

    found = build_feature_report(project, live(project), {})

    assert found.unknown[0] == "cost of weather@v1: it is not in the online store; headway features materialize weather"


def measurement(name: str, value: float, **fields: object) -> Measurement:
    return replace(Measurement(name=name, value=value, low=value, high=value, method="m", n_rows=9), **fields)


def monitored(digest: str) -> MonitoringReport:
    drift = Drift(alarm=True, measurements=(measurement("drift.p", 0.03, slice="a"), measurement("drift.p", 0.03)))
    return MonitoringReport(
        name="flights",
        release=digest,
        period="2026-03",
        since="2026-03-01",
        until="2026-04-01",
        n_rows=9,
        n_labeled=0,
        drift=drift,
        status="drifted",
        message="the inputs changed",
    )


def run(project, capsys, *words: str, command: str = "features") -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([command, *words, "--project", str(project.config.folder)])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_the_command_names_a_skew_and_fails(project, source, capsys):
    log(project, source, factor=1.8)

    code, text = run(project, capsys, "replay")

    assert code == 1
    assert "a is 1.8 times the value" in text
    assert f"1 skew; in {REQUESTS} rows of weather@v1, the values have another unit" in text
    assert [saved.n_rows for saved in project.records(ValueReplay)] == [REQUESTS]


def test_the_command_passes_if_the_store_is_as_late_as_it_may_be(project, source, capsys):
    log(project, source, lag_h=1)

    assert run(project, capsys, "replay", "--max-lag", "2h")[0] == 0
    assert run(project, capsys, "replay")[0] == 1


def test_the_command_replays_requests_from_a_time_on(project, source, capsys):
    log(project, source, factor=1.8, numbers=range(30))
    log(project, source, numbers=range(30, REQUESTS))
    begin = DAY + timedelta(hours=6, minutes=15 * 30)

    assert run(project, capsys, "replay")[0] == 1
    assert run(project, capsys, "replay", "--from", begin.replace(tzinfo=None).isoformat())[0] == 0


def test_the_task_replays_new_requests_and_measures_cost_and_worth_once_a_week(project, source, tmp_path, capsys):
    (tmp_path / "features.toml").touch()
    log(project, source)

    first, second = (run(project, capsys, "--task", "replay", command="run") for _ in range(2))

    assert (first[0], second[0]) == (0, 0)
    assert first[1].startswith("replay done: all values of 60 lookups in 60 rows are as they should be; cost and worth")
    assert "all values of 5 lookups in 5 rows" in second[1] and "cost and worth were measured on " in second[1]
    assert len(project.records(FeatureReport)) == 1


def test_the_task_replays_a_former_release_once_for_what_it_served(project, source, tmp_path, capsys):
    (tmp_path / "features.toml").touch()
    former = live(project)
    log(project, source, factor=1.8)
    rollouts.live(project, rollouts.release(views=former.release.views, made_at="2026-03-09"))
    log(project, source)

    first, second = (run(project, capsys, "--task", "replay", command="run")[1] for _ in range(2))

    assert live(project).digest != former.digest
    assert first.startswith("replay attention: all values of 60 lookups in 60 rows are as they should be; ")
    assert f"release {former.digest[:19]}, which is not live: 1 skew; in 60 rows of weather@v1, the values" in first
    assert second.startswith("replay done: all values of 5 lookups") and former.digest[:19] not in second
    log(project, source, factor=1.8, release=former.digest)
    assert former.digest[:19] in run(project, capsys, "--task", "replay", command="run")[1]


def test_the_task_replays_a_former_release_if_the_live_one_reads_no_views(project, source, tmp_path, capsys):
    (tmp_path / "features.toml").touch()
    former = live(project)
    log(project, source)
    rollouts.live(project, rollouts.release())

    code, text = run(project, capsys, "--task", "replay", command="run")

    assert code == 0
    assert text.startswith("replay done: the live release looks up no feature view; release " + former.digest[:19])


@pytest.mark.parametrize(
    ("is_gone", "outcome", "code"), [(False, "attention", 0), (True, "failed", 1)], ids=["differs", "not replayed"]
)
def test_a_task_that_finds_wrong_values_needs_attention_and_one_that_cannot_compare_them_failed(
    project, source, tmp_path, capsys, is_gone, outcome, code
):
    (tmp_path / "features.toml").touch()
    log(project, source, factor=1.8)
    if is_gone:
        (tmp_path / "weather.parquet").unlink()

    ended, _ = run(project, capsys, "--task", "replay", command="run")

    saved = last_run(project, "replay")
    assert (ended, saved.outcome) == (code, outcome)


def test_the_task_has_nothing_to_do_without_views(tmp_path, capsys):
    opened = rollouts.project(tmp_path)
    with pytest.raises(SystemExit) as without_views:
        main(["run", "--task", "replay", "--project", str(tmp_path)])
    (tmp_path / "features.toml").touch()
    nothing_live = run(opened, capsys, "--task", "replay", command="run")
    rollouts.live(opened, rollouts.release())

    assert without_views.value.code == 2
    assert nothing_live == (0, "replay done: no release is live\n")
    assert run(opened, capsys, "--task", "replay", command="run")[1].startswith(
        "replay done: the live release looks up"
    )


def test_a_replay_without_requests_is_undecided(project, capsys):
    code, text = run(project, capsys, "replay", "flights@live")

    assert code == 3
    assert "weather@v1 was not replayed: no request is logged" in text


def test_the_command_shows_the_cost_of_features_and_what_is_not_known_of_their_worth(project, source, capsys):
    log(project, source)

    code, text = run(project, capsys, "worth")

    assert code == 0
    assert "22.5 min / 45" in text
    assert "not known: worth: " in text
    assert len(project.records(FeatureReport)) == 1


def test_the_error_of_a_release_without_views_says_how_to_read_some(tmp_path, capsys):
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, rollouts.release())

    with pytest.raises(SystemExit) as ended:
        main(["features", "replay", "--project", str(tmp_path)])

    assert ended.value.code == 2
    assert "[features] views" in capsys.readouterr().err
