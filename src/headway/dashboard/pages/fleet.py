"""Devices of a model: what each serves, how far it is behind, its last report, errors, and its disagreement."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.fleet import FleetComparison, FleetPointer
from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.registry.device_logs import load_statuses
from headway.registry.settings.fleet import FleetSection
from headway.reporting.text.fleet import describe_disagreement, tabulate_devices


def _fleet(call: Call) -> Reply:
    project, at = call.project, datetime.now(UTC)
    statuses, comparison = load_statuses(project.config.state, project.name), project.latest(FleetComparison)
    found = project.recent(FleetPointer, limit=1)
    pointer = found[0].record if found else None
    values = {
        "pointer": pointer,
        "share": f"{pointer.share:.0%}" if pointer else "",
        "n_devices": len(statuses),
        "devices": tabulate_devices(statuses, pointer, comparison, poll_s=project.config[FleetSection].poll_s, at=at),
        "disagreement": describe_disagreement(comparison),
    }
    return Rendered(template="fleet.html", values=values)


plugin = Page(views=[View("/models/{model}/fleet", _fleet)], tab="Fleet", order=72)
