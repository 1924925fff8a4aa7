"""A project with every evidence that the catalogue knows, without a store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headway.core.threats import ThreatEvidence
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.coverage import EvidenceGraph, ProjectFact

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MAX_AGE = timedelta(days=90)
RELEASE, MODEL, DATA = "sha256:release", "sha256:model", "sha256:data"
AGELESS = ("setting:", "signature:", "self_test:", "contract:", "provenance:", "rollback:")


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
