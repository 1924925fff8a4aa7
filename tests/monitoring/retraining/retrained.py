"""Outcomes of a retraining of the echo model, as `observe.retraining` keeps them, without what they take."""

from __future__ import annotations

from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.core.evidence import Evidence, Machine
from headway.core.search_result import Baseline, SearchResult
from headway.core.training import Retraining
from headway.core.verdict import Answer, EvaluatedVariant
from headway.registry.project import Project


def outcome(project: Project, *, key: str = "first", answer: Answer = "pass") -> Retraining:
    """A retraining of the live release with this verdict against it, kept; each key is a release of its own."""
    made = rollouts.release()
    verdict = replace(made.verdict, answer=answer)
    project.blobs.put(b"echo")
    frontier = SearchResult(
        name=project.name,
        baseline=Baseline(model=made.variant),
        evaluated=(),
        winner=EvaluatedVariant(variant=made.variant, evidence=evidence(made.variant.digest), verdict=verdict),
        self_test=made.self_test,
        at=key,
    )
    live = project.registry.head(f"{project.name}@live")
    found = Retraining(
        name=project.name, key=key, live=live.release if live else "", search_result=frontier, message="better"
    )
    project.save(found)
    return found


def evidence(subject: str) -> Evidence:
    """Evidence on which nothing was measured."""
    machine = Machine(cpu="", cores=1, system="", python="")
    return Evidence(subject=subject, dataset="", period="", machine=machine)
