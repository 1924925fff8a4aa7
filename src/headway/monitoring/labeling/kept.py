"""What a project knows of how its labels came about, for the checks of its data."""

from __future__ import annotations

from functools import partial

from headway.core.labelling import Agreement, Labelling
from headway.core.record import read
from headway.monitoring.labeling.delay import delays
from headway.registry.project import Project


def labelling_of(project: Project) -> Labelling:
    """The last agreement that was kept, and the delays of labels in the log; each is read when it is asked for."""
    return Labelling(agreement=partial(last_agreement, project), delays=partial(delays, project))


def last_agreement(project: Project) -> Agreement | None:
    """The agreement that was measured last, or None."""
    content = project.state.latest("agreement", name=project.name)
    return read(Agreement, content) if content else None
