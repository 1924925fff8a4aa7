"""headway features apply, list and show: what a team reads about the views that its models share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.cli.commands.features import plugin
from headway.cli.main import main
from headway.core.errors import ConfigError
from headway.features import catalog
from headway.registry.feature_usage import uses_of
from headway.registry.project import Project

pytestmark = pytest.mark.slow
FIRST = """
[views.weather]
entities = ["origin"]
source = "weather.parquet"
event_time = "observed_at"
ttl = "6h"
features = ["temp", "wind"]

[views.trip]
expressions = { is_weekend = "weekday >= 6" }
"""
CHANGED = FIRST.replace('features = ["temp", "wind"]', 'features = ["wind"]\nexpressions = { hot = "temp > 90" }')


@pytest.fixture
def project(tmp_path: Path) -> Project:
    opened = rollouts.project(tmp_path)
    (tmp_path / "features.toml").write_text(FIRST, encoding="utf-8")
    return opened


def run(project: Project, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["features", *words, "--project", str(project.config.folder)])
    return int(ended.value.code or 0), capsys.readouterr().out


def release_with_weather(project: Project) -> str:
    view = catalog.resolve_view(project.state, "weather")
    return rollouts.live(project, replace(rollouts.release(), views=(replace(view, columns=("temp",)),)))


def test_a_change_is_applied_as_the_next_version_and_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no view was applied" in run(project, capsys, "list")[1]
    first = run(project, capsys, "apply", "--who", "ann")
    again = run(project, capsys, "apply")
    (Path(project.config.folder) / "features.toml").write_text(CHANGED, encoding="utf-8")
    changed = json.loads(run(project, capsys, "apply", "weather", "--json")[1])

    assert first[0] == 0
    assert "weather@v1: new version" in first[1]
    assert "next: headway features materialize" in first[1]
    assert "weather@v1: unchanged" in again[1]
    assert changed[0]["view"] == "weather@v2"
    assert [(change["feature"], change["effect"]) for change in changed[0]["changes"]] == [
        ("temp", "breaks"),
        ("hot", "none"),
    ]
    assert catalog.versions(project.state, "weather")[0].who == "ann"


def test_the_users_of_a_view_and_what_would_break_are_shown(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, capsys, "apply")
    digest = release_with_weather(project)
    (Path(project.config.folder) / "features.toml").write_text(CHANGED, encoding="utf-8")

    listed = json.loads(run(project, capsys, "list", "--json")[1])
    shown = run(project, capsys, "show", "weather")[1]
    asked = json.loads(run(project, capsys, "show", "weather", "--json")[1])

    assert {view["view"]: view["used_by"] for view in listed} == {
        "weather@v1": [f"{project.name}@live (v1)"],
        "trip@v1": [],
    }
    assert "at its next training: feature temp removed: breaks models that read it" in shown
    assert "a release goes on with the version that it has" in shown
    (use,) = asked["uses"]
    assert (use["use"]["release"], use["use"]["features"]) == (digest, ["temp"])
    assert [change["feature"] for change in use["changes"]] == ["temp"], "it does not read the feature that is new"

    run(project, capsys, "apply")
    shown = run(project, capsys, "show", "weather@v1")[1]
    assert "weather@v1 -> weather@v2" in shown
    assert "temp: column (number; missing: null)" in shown
    assert f"{project.name}@live  weather@v1  reads temp" in shown, "a release keeps its version"


def test_a_release_that_does_not_verify_may_use_the_view(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, capsys, "apply")
    digest = release_with_weather(project)
    folder = project.registry.folder / project.name / digest.removeprefix("sha256:")
    for path in folder.iterdir():
        path.chmod(0o600)
        path.write_bytes(b"damaged")

    (use,) = uses_of(project.registry, "weather")

    assert use.problem
    assert "its views are not known" in run(project, capsys, "show", "weather")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show",), "0 views to show"),
        (("show", "wether"), "no view 'wether'"),
        (("apply", "plane"), "no view 'plane' is declared"),
    ],
)
def test_a_view_that_is_unknown_is_named(
    project: Project, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["features", *words, "--project", str(project.config.folder)])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_rows_are_joined_with_what_was_known_at_their_time(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    noon = datetime(2024, 1, 31, 12, tzinfo=UTC)
    weather = {
        "origin": ["JFK"] * 2,
        "observed_at": [noon, noon + timedelta(hours=1)],
        "temp": [40, 50],
        "wind": [1, 2],
    }
    pl.DataFrame(weather).write_parquet(tmp_path / "weather.parquet")
    rows = {"origin": ["JFK", "LGA"], "at": [noon + timedelta(minutes=5)] * 2, "weekday": [3, 6]}
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    asked = ("join", "--rows", str(tmp_path / "rows.parquet"), "--out", str(tmp_path / "out.parquet"))

    with pytest.raises(ConfigError, match="a join needs --rows, --time and --out"):
        plugin("join", project=tmp_path)
    with pytest.raises(ConfigError, match="no view was applied"):
        plugin("join", rows=tmp_path / "rows.parquet", time="at", out=tmp_path / "out.parquet", project=tmp_path)
    run(project, capsys, "apply")
    code, text = run(project, capsys, *asked, "--time", "at")

    assert (code, text.split(":")[0]) == (0, "2 rows with the features of trip@v1, weather@v1")
    joined = pl.read_parquet(tmp_path / "out.parquet")
    assert joined["temp"].to_list() == [40.0, None]
    assert joined["is_weekend"].to_list() == [False, True]


def test_a_release_that_reads_other_views_does_not_use_this_one(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, capsys, "apply")
    release_with_weather(project)

    assert [use.view for use in uses_of(project.registry, "weather")] == ["weather@v1"]
    assert uses_of(project.registry, "planes") == []
