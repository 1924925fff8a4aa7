"""`headway status`: five lines, six with feature views, the exit code of the state, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.test_overview import WEATHER, watched
from tests.reporting.served_features import REPLAY
from tests.serving.running import serving

from headway.cli.main import main
from headway.registry.project import Project
from headway.serving.loading import load_model

ENDED = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=1)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()


def status(project: Project, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--project", str(project.config.folder), *arguments])
    return int(ended.value.code)


def just_ended(release: str, **changes: object) -> object:
    since = (ENDED - timedelta(days=30)).isoformat()
    return watched(release, since=since, until=ENDED.isoformat(), **changes)


def test_a_project_without_a_release_cannot_be_judged(project, capsys):
    assert status(project) == 3
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["flights:", "live", "quality", "servers", "next"]
    assert printed[0] == "flights: ? cannot be judged. No release is live."
    assert printed[-1] == "  next     Approve a release, or make one.  (headway release)"


def test_a_healthy_model_exits_with_0_and_a_degraded_one_with_1(project, capsys):
    digest = rollouts.live(project, rollouts.release())
    project.save(just_ended(digest))
    assert status(project) == 0
    assert "flights: ✓ healthy. No degradation is shown in 2026-10." in capsys.readouterr().out
    project.save(just_ended(digest, status="degraded"))
    assert status(project) == 1
    assert "flights: ! needs attention. In 2026-10 it is worse than when it was judged." in capsys.readouterr().out


def test_a_model_with_feature_views_has_a_line_on_their_values(project, capsys):
    digest = rollouts.live(project, rollouts.release(views=(WEATHER,)))
    project.save(just_ended(digest))
    assert status(project) == 3
    assert "  values   weather@v2: not replayed yet" in capsys.readouterr().out
    project.save(replace(REPLAY, release=digest))
    assert status(project) == 1
    values = (
        "1 skew; in 500 rows of weather@v2, the values have another unit; planes@v1 was not replayed: the source is"
    )
    assert f"  values   {values} gone" in capsys.readouterr().out


def test_the_servers_that_answer_are_counted_with_their_traffic(project, capsys, monkeypatch):
    digest = rollouts.live(project, rollouts.release())
    project.save(just_ended(digest))
    with serving(load_model(project.registry.resolve("flights@live"))) as server:
        monkeypatch.setenv("HEADWAY_UI_SERVERS", json.dumps([server.address, "http://127.0.0.1:1"]))
        assert status(project) == 1
        printed = capsys.readouterr().out
        assert status(project, "--json") == 1
    assert "servers  1 of 2 answer (http://127.0.0.1:1: it refused the connection)" in printed
    assert "0 requests since the servers started, 0 errors, p99 no requests" in printed
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["live"]["release"]) == ("attention", digest)
    assert [condition["code"] for condition in shown["conditions"]] == ["a server does not answer"]
    assert shown["traffic"]["requests"] == 0
