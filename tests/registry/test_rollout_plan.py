"""The stages that a project asks for, and what each move of a canary is signed with."""

from __future__ import annotations

import pytest

from headway.core.config import load
from headway.core.errors import ConfigError
from headway.core.record import read, write
from headway.core.rollout import Plan, Rollout, RolloutStage
from headway.core.verdict import Rule
from headway.registry.rollout import plan_from_config, traffic_assignment
from headway.registry.settings.rollout import RolloutSection


def test_the_default_plan_is_a_shadow_and_three_shares_of_one_day_each():
    assert plan_from_config(RolloutSection()) == Plan()


def test_each_share_is_a_stage_with_the_hours_and_requests_of_the_project():
    plan = plan_from_config(RolloutSection(shares=(0.1, 0.4), min_requests=500, at_most_hours=0.5))
    assert [stage.share for stage in plan.stages] == [0.1, 0.4]
    assert {(stage.at_most_s, stage.min_requests) for stage in plan.stages} == {(1800.0, 500)}


@pytest.mark.parametrize("shares", [(0.5, 0.25), (0.1, 0.1)])
def test_shares_that_do_not_rise_are_rejected(shares):
    with pytest.raises(ConfigError, match="the shares of a rollout must rise"):
        plan_from_config(RolloutSection(shares=shares))


@pytest.mark.parametrize("text", ["[]", "[1.0]", "[-0.1]", "half"])
def test_an_invalid_list_of_shares_is_rejected_with_the_setting(tmp_path, text):
    (tmp_path / "headway.toml").write_text("")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environment={}, flags={"rollout.shares": text})
    assert caught.value.where == "flag rollout.shares"


def test_an_update_is_signed_with_share_salt_stage_and_terms():
    plan = Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5)))
    rollout = Rollout(name="flights", release="sha256:new", live="sha256:old", salt="s", rules=(), plan=plan)
    deal = traffic_assignment(rollout, 1)
    assert (deal.share, deal.salt, deal.stage, deal.terms) == (0.5, "s", 1, rollout.terms)


def test_a_rollout_started_by_headway_0_1_keeps_its_signed_terms() -> None:
    rules = (Rule(measure="flipped_decisions", at_most=0.05), Rule(measure="error_rate.loss", at_most=0.005))
    later = (Rule(measure="brier.loss", at_most=0.005),)
    begun = Rollout(name="m", release="sha256:a", live="sha256:b", salt="s", rules=rules, delayed_rules=later)
    rollout = read(Rollout, write(begun).replace(b'"version":2', b'"version":1'))
    assert [rule.measure for rule in rollout.rules] == ["decision_churn", "error_rate.drop"]
    assert rollout.terms == "sha256:f8626d7a07991614c9b20a0bf4b3bed34e14e0d920673431816bac314327e4b3"
