"""What is killed: processes that release or promote a canary repeatedly. A stem forks them (`tests.storage.stem`).

Each says `ready` before it begins, and what it has done once that is done.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from tests.monitoring import rollouts
from tests.storage.stem import Say

from headway import pipeline
from headway.core.evidence import Evidence, Machine
from headway.core.search_result import Baseline, SearchResult
from headway.core.verdict import EvaluatedVariant
from headway.monitoring import rollout as control
from headway.registry.project import Project, open_project

MODEL_BYTES = 300_000


def release(say: Say, folder: str, times: str) -> None:
    """`headway release` of one new search after the other; says the digest that is live."""
    say("ready")
    project = open_project(Path(folder))
    for _ in range(int(times)):
        frontier = searched(project)
        project.save(frontier)
        say(pipeline.release(project, frontier, who="ann").move.release)


def promote(say: Say, folder: str, times: str) -> None:
    """Roll out of two releases the one that is not live, on and on, by a person; says the digest that is live then."""
    say("ready")
    project = open_project(Path(folder))
    project.blobs.put(b"echo")
    two = [rollouts.publish(project, rollouts.release(made_at=when)) for when in ("May", "June")]
    for _ in range(int(times)):
        live = project.registry.head("flights@live")
        digest = two[live is not None and live.release == two[0]]
        control.start_rollout(project, digest, plan=rollouts.SHORT, who="ann")
        for _ in rollouts.SHORT.stages:
            control.advance_rollout(project, who="ann", why="it is well")
        say(digest)


def searched(project: Project) -> SearchResult:
    """Return a search that found a new model, compared with what is live; its bytes are in the store."""
    content = secrets.token_bytes(MODEL_BYTES)
    project.blobs.put(content)
    made = rollouts.release(content=content)
    machine = Machine(cpu="none", cores=2, system="Linux", python="3.13")
    live = project.registry.head(f"{project.name}@live")
    evidence = Evidence(
        subject=made.variant.digest,
        dataset="d",
        period="validation",
        machine=machine,
        live=live.release if live else "",
    )
    judged = EvaluatedVariant(variant=made.variant, evidence=evidence, verdict=made.verdict)
    return SearchResult(
        name=project.name, baseline=Baseline(model=made.variant), evaluated=(judged,), winner=judged, at="2013-10-01"
    )
