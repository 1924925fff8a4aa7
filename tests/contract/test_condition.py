"""Every condition of alerts, headway's own and of other packages, keeps what the rules rely on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.raising import EARLY, LATE, install_raising
from tests.monitoring import rollouts

from headway.core import plugins
from headway.core.errors import ConfigError, HeadwayError
from headway.monitoring.alerts.deliver import judge_alert_rules
from headway.monitoring.condition import (
    ConditionState,
    Facts,
    condition_names,
    condition_title,
    judge_condition,
    load_condition,
)
from headway.monitoring.settings.alert import AlertRule, AlertSection
from headway.registry.project import Project

CONDITIONS = plugins.names("condition")
RULE = AlertRule(name="ops", to="command")
NOW = datetime(2026, 12, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that nothing has happened in."""
    return rollouts.project(tmp_path_factory.mktemp("project"))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_of_a_new_project_does_not_hold_or_cannot_be_judged(name: str, project: Project) -> None:
    state = judge_condition(name, Facts(project, now=NOW, servers=[]), RULE)
    assert state is None or (isinstance(state, ConditionState) and not state.is_firing and state.summary)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_has_a_title(name: str) -> None:
    assert load_condition(name).title == condition_title(name) != name


def test_the_conditions_of_headway_come_first_in_their_order() -> None:
    assert condition_names()[:3] == ("degradation", "drift", "not_judged") and condition_names()[-1] == "greet"


def test_an_unknown_condition_is_an_error_where_it_is_set_and_keeps_its_name_in_what_was_sent() -> None:
    with pytest.raises(ValueError, match="no condition 'drfit' is installed; one of: certificate, degradation, drift"):
        AlertRule(name="ops", to="command", when=("drfit",))
    with pytest.raises(ConfigError, match="no condition 'drfit'"):
        load_condition("drfit")
    assert condition_title("drfit") == "drfit"


@pytest.mark.parametrize(("code", "message"), [(EARLY, "KeyError"), (LATE, "is not an AlertCondition")])
def test_a_condition_that_cannot_be_used_is_a_problem_of_its_own_and_the_others_are_judged(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    name = install_raising("condition", "defective", tmp_path, monkeypatch, code=code)
    with pytest.raises(HeadwayError, match=message):
        load_condition(name)
    rule = AlertRule(name="ops", to="command", when=(name, "ticket"))
    watched = Project(
        config=project.config.having(AlertSection(rules=(rule,))),
        blobs=project.blobs,
        state=project.state,
        registry=project.registry,
    )
    (_, first, state, problem), (_, second, ticket, none) = judge_alert_rules(watched, now=NOW, servers=[])
    assert (first, second, state, none) == (name, "ticket", None, "") and message in problem
    assert ticket is not None and not ticket.is_firing
