"""A project with every evidence that the catalogue knows, without a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headway.core.threats import ThreatEvidence
from headway.core.verdict import Answer, Rule, RuleResult
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.coverage import EvidenceGraph, ProjectFact

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MAX_AGE = timedelta(days=90)
RELEASE, MODEL, DATA = "sha256:release", "sha256:model", "sha256:data"
AGELESS = ("setting:", "signature:", "self_test:", "contract:", "provenance:", "rollback:")


def result(answer: Answer) -> RuleResult:
    """Return what a rule says of a measurement."""
    return RuleResult(rule=Rule(measure="auc", at_most=0.6), answer=answer, message=f"auc is 0.95: {answer}")


def complete_graph() -> EvidenceGraph:
    """Return a graph with one valid piece of every evidence, in which every requirement applies."""
    catalogue = load_catalogue()
    facts = {name for row in catalogue.requirement for name in row.applies}
    evidence = tuple(
        ThreatEvidence(
            key=kind.key,
            message=f"{kind.key} holds",
            at="" if kind.key.startswith(AGELESS) else (NOW - timedelta(days=1)).isoformat(),
            record="sha256:record",
            model="" if kind.key.startswith("setting:") else RELEASE,
            data=DATA if kind.key.startswith(("measure:", "check:")) else "",
            result=result("pass") if kind.key.startswith(("measure:", "rule:")) else None,
        )
        for kind in catalogue.evidence
    )
    return EvidenceGraph(
        name="flights",
        evidence=evidence,
        facts={name: ProjectFact(holds=True, reason="it does not apply") for name in facts},
        release=RELEASE,
        model=MODEL,
        models=frozenset({RELEASE, MODEL}),
        datasets=frozenset({DATA}),
    )
