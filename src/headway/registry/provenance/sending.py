"""Send lineage to an OpenLineage receiver: what it lacks, in order; what failed is sent again next time."""

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
    """Send the events that `[provenance] lineage_to` has not accepted yet, and save which it accepted.

    Without that setting the OpenLineage client decides on the receiver. A receiver that fails is not an error: the
    record says so, and the remaining events are sent next time. Raises PluginError if the client is absent, ConfigError
    if there is no receiver.
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
    sent = LineageDelivery(to=name, events=tuple(taken), n_pending=len(fresh) - len(taken), failed=failed, at=now)
    if fresh:
        project.save(sent)
    return sent


def deliveries(project: Project) -> list[LineageDelivery]:
    """Return the deliveries of a project, oldest first."""
    return project.records(LineageDelivery)


def delivery_message(sent: LineageDelivery) -> str:
    """Return one line on a delivery."""
    if sent.failed:
        left = f"{sent.n_pending:,} events of lineage were not taken by {sent.to}: {sent.failed}"
        return f"{left}; they are kept, and sent with the next; try: {MEND}"
    return f"{len(sent.events):,} events of lineage sent to {sent.to}"
