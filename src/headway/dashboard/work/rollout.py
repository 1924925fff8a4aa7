"""The stage of a running rollout, measured from its log, in the process for heavy work."""

from __future__ import annotations

from headway.core.config import Config
from headway.core.errors import Refused
from headway.monitoring.approvals import Pending, pending_stage
from headway.monitoring.rollout import RolloutController, latest_rollout
from headway.registry.project import project_of


def measure_rollout(config: Config) -> tuple[Pending, int]:
    """Return the next stage as a step that waits, and how many requests the current one has had."""
    project = project_of(config)
    try:
        rollout = latest_rollout(project)
        if rollout is None or rollout.status != "running":
            raise Refused(f"no rollout of {project.name} is running", hint="open the page Approve again")
        controller = RolloutController(project, rollout)
        return pending_stage(rollout, controller.find()), controller.rollout.requests
    finally:
        project.state.close()
