"""Lineage passed on after a command, where the project says to whom; the work stands whatever becomes of it."""

from __future__ import annotations

from headway.cli.output import callback
from headway.core.errors import HeadwayError
from headway.registry.project import Project
from headway.registry.provenance.sending import message, send


def pass_on(project: Project) -> None:
    """Send what `[provenance] lineage_to` has not taken yet; what cannot be sent is told, and waits for the next."""
    if not project.config.provenance.lineage_to:
        return
    try:
        callback(message(send(project)))
    except HeadwayError as error:
        callback(f"lineage was not sent: {error}")
