"""Every model: what is live, and since when."""

from __future__ import annotations

from headway.core.errors import HeadwayError
from headway.core.release import PointerUpdate
from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.registry.project import Project


def _overview(call: Call) -> Reply:
    rows = [_row(project) for project in call.dashboard.projects.values()]
    return Rendered(template="overview.html", values={"rows": rows})


def _row(project: Project) -> tuple[str, PointerUpdate | None, str]:
    """Return a model's name, the update that made its live release live, and the problem with it."""
    try:
        return project.name, project.registry.head(f"{project.name}@live"), ""
    except HeadwayError as error:
        return project.name, None, error.what


plugin = Page(views=[View("/", _overview)], title="Overview", order=0)
