"""Lineage sent to a receiver of OpenLineage: what it does not have yet, in order; what failed is sent the next time."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.config import without_password
from headway.core.errors import DataError
from headway.core.plugins import load_beside
from headway.core.provenance import LineageDelivery
from headway.core.record import canonical, digest_of
from headway.core.sections.provenance import ENVIRONMENT
from headway.registry.project import Project
from headway.registry.provenance.lineage import events

MEND = "headway data send"


def send(project: Project) -> LineageDelivery:
    """Send the events that `[provenance] lineage_to` has not taken yet, and keep which it took.

    Without that setting the client of OpenLineage says where. A receiver that fails is no error: the record says so,
    and what is left goes first the next time. Raises PluginError where the client is absent, ConfigError where nothing
    says to where.
    """
    to = project.config.provenance.lineage_to or ENVIRONMENT
    name, taken = without_password(to), []
    had = {digest for sent in deliveries(project) if sent.to == name for digest in sent.events}
    fresh = {digest: event for event in events(project) if (digest := digest_of(canonical(event))) not in had}
    client, failed = load_beside(__name__, "openlineage", reads="lineage that is sent"), ""
    try:
        for digest, _ in zip(fresh, client.emitted(list(fresh.values()), to), strict=True):
            taken.append(digest)
    except DataError as error:
        failed = error.what
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sent = LineageDelivery(to=name, events=tuple(taken), left=len(fresh) - len(taken), failed=failed, at=now)
    if fresh:
        project.save(sent)
    return sent


def deliveries(project: Project) -> list[LineageDelivery]:
    """What was sent, oldest first."""
    return project.records(LineageDelivery)


def delivery_message(sent: LineageDelivery) -> str:
    """What was sent, in a line."""
    if sent.failed:
        left = f"{sent.left:,} events of lineage were not taken by {sent.to}: {sent.failed}"
        return f"{left}; they are kept, and sent with the next; try: {MEND}"
    return f"{len(sent.events):,} events of lineage sent to {sent.to}"
