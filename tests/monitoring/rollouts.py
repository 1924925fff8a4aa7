"""Projects with a live and a second release, and traffic that their servers answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from headway.core.contracts import Engine
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.rollout import Plan, RolloutStage
from headway.core.training import Training
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Rule, RuleResult, Verdict
from headway.monitoring.deployed_release import DeployedRelease
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from headway.registry.sign import init_keys

TOML = """
[project]
name = "flights"
[trust]
publisher_key = "keys/publisher.pem"
[serve]
port = 0
log_flush_s = 0.05
"""
FLIPS = Rule(measure="decision_churn", at_most=0.05)
BRIER = Rule(measure="brier.drop", at_most=0.005)
SHORT = Plan(stages=(RolloutStage(share=0.0), RolloutStage(share=0.5)))


def release(*, content: bytes = b"echo", rules: Iterable[Rule] = (FLIPS,), **fields: object) -> Release:
    """A release of the echo model, which answers the mean of `a` and `b`; it was judged by these rules."""
    artifact = Artifact(format="echo", digest=digest_of(content), size_bytes=len(content))
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=(Field(name="a"), Field(name="b"))))
    rule_results = tuple(RuleResult(rule=rule, answer="pass", message="") for rule in rules)
    made = Release(
        name="flights",
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest, rule_results=rule_results),
        self_test=SelfTest(rows=((1.0, 3.0),), answers=((2.0,),)),
    )
    return replace(made, **fields)


def project(folder: Path, *, toml: str = TOML) -> Project:
    """A project with its keys, and nothing released."""
    (folder / "headway.toml").write_text(toml)
    opened = open_project(folder)
    init_keys(opened.registry.publisher_key, opened.registry.trusted_keys, comment="a test")
    return opened


def publish(opened: Project, made: Release) -> str:
    """Keep a release; returns its digest."""
    return opened.registry.publish(made, {"model.echo": b"echo"})


def live(opened: Project, made: Release) -> str:
    """Publish a release and make it live."""
    digest = publish(opened, made)
    opened.registry.point(f"{opened.name}@live", digest, UpdateReason(who="ann", why="a test", verdict=made.verdict))
    return digest


def deployed_in_january(made: Release, model: Engine) -> DeployedRelease:
    """Return a release that was trained on 2019 and judged on January 2020."""
    training = Training(
        dataset="",
        recipe="",
        model=made.variant,
        since="2019-01-01",
        until="2020-01-01",
        judged_since="2020-01-01",
        judged_until="2020-02-01",
        n_rows=1000,
        seconds=1.0,
    )
    return DeployedRelease(release=made, digest="sha256:1", model=model, training=training)
