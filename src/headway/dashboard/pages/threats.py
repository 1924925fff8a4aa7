"""Security of a model: which threats are covered by evidence, which are gaps, what to do next, and accepted risks."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.exposure import exposure_of
from headway.core.threats import AcceptedRisk, ThreatAssessment, accepted_risks
from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.reporting.text.overview import live_parts
from headway.reporting.text.threats import (
    LEAD,
    next_steps,
    security_sentences,
    tabulate_requirements,
    tabulate_steps,
    tabulate_topics,
)


def _threats(call: Call) -> Reply:
    project, now = call.project, call.dashboard.live.now()
    state = now.models[project.name].state
    found = project.latest(ThreatAssessment)
    values: dict[str, object] = {"now": now, "parts": live_parts(state, None), "found": found}
    if found:
        exposure = exposure_of(project.config)
        accepted = accepted_risks(project.records(AcceptedRisk), exposure=exposure, now=datetime.now(UTC))
        risks = {id: risk for id, (_, risk) in accepted.items()}
        values |= {
            "lead": LEAD,
            "sentences": security_sentences(found),
            "topics": tabulate_topics(found),
            "conditions": [one for one in state.conditions if one.subject == "threats"],
            "steps": tabulate_steps(next_steps(found.open_gaps())),
            "requirements": tabulate_requirements(found.requirements, risks),
            "risks": risks,
        }
    return Rendered(template="threats.html", values=values)


plugin = Page(views=[View("/models/{model}/security", _threats)], tab="Security", order=65)
