"""Send lineage after a command, where the project names a receiver; a failure never undoes the command."""

from __future__ import annotations

from headway.core.errors import HeadwayError
from headway.registry.project import Project
from headway.registry.provenance.lineage import delivery_message, send
from headway.reporting.console import print_status


def send_lineage(project: Project) -> None:
    """Send the events that `[provenance] lineage_to` does not have yet; report a failure and leave them for next time."""
    if not project.config.provenance.lineage_to:
        return
    try:
        print_status(delivery_message(send(project)))
    except HeadwayError as error:
        print_status(f"lineage was not sent: {error}")
