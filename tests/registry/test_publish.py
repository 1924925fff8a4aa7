"""A release without a passing verdict needs a reason, and is held to the project's contract of today."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.registry.releasing import searched

from headway.core.errors import Refused
from headway.core.provenance import TrainingDigests
from headway.core.search_result import SearchResult
from headway.core.verdict import Verdict
from headway.registry.project import Project
from headway.registry.publish import release_winner

CONTRACT = '[columns.a]\ntype = "number"\nmaximum = 9\n\n[columns.b]\ntype = "number"\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return rollouts.project(tmp_path)


def failed(project: Project) -> SearchResult:
    """Return a search whose winner the judge did not pass."""
    found = searched(project)
    verdict = replace(found.winner.verdict, answer="fail")
    return replace(found, winner=replace(found.winner, verdict=verdict))


def test_what_did_not_pass_is_released_only_with_the_reason_of_a_person_who_is_named(project: Project) -> None:
    search = failed(project)
    with pytest.raises(Refused, match=r"nothing is released: the verdict on .* is fail"):
        release_winner(project, search, who="ann")
    assert project.registry.head("flights@live") is None

    move = release_winner(project, search, who="ann", override="storm days").move

    assert (move.who, move.why) == ("ann", "override: storm days")
    verdict = project.registry.resolve("flights@live").release.verdict
    assert (verdict.overridden, verdict.by, verdict.why) == (True, "ann", "storm days")
    assert project.records(Verdict)[-1] == verdict


def test_the_reason_of_an_override_is_recorded_next_to_another_reason(project: Project) -> None:
    move = release_winner(project, failed(project), who="ann", why="the May release", override="storm days").move
    assert (move.why, move.answer) == ("the May release; override: storm days", "override")


def test_a_reason_changes_nothing_about_a_verdict_that_passed(project: Project) -> None:
    move = release_winner(project, searched(project), who="ann", override="storm days").move
    assert project.registry.resolve("flights@live").release.verdict.by == "judge"
    assert (move.why, move.answer) == ("override: storm days", "pass")


def test_a_pass_that_was_not_compared_with_live_is_an_override_in_the_history(project: Project) -> None:
    release_winner(project, searched(project), who="ann")
    search = searched(project)
    release_winner(project, searched(project), who="bob")
    with pytest.raises(Refused, match="was not compared with the live release"):
        release_winner(project, search, who="ann")
    move = release_winner(project, search, who="ann", override="bob's is worse").move
    assert (move.answer, move.why) == ("override", "override: bob's is worse")
    assert project.registry.resolve("flights@live").release.verdict.by == "ann"


def test_a_release_has_the_contract_that_the_project_agreed_on(project: Project) -> None:
    (Path(project.config.folder) / "contract.toml").write_text(CONTRACT)
    release_winner(project, searched(project), who="ann")
    columns = project.registry.resolve("flights@live").release.contract.columns
    assert [(bounds.name, bounds.highest) for bounds in columns] == [("a", 9.0), ("b", None)]


def test_a_release_has_the_digests_of_what_it_was_trained_with(project: Project) -> None:
    made = TrainingDigests(code="sha256:1", settings="sha256:2", rows="sha256:3")
    search = searched(project)
    release_winner(project, replace(search, baseline=replace(search.baseline, training=made)), who="ann")
    assert project.registry.resolve("flights@live").release.training == made
