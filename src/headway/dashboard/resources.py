"""What every page of a dashboard reads: the projects, who is signed in, and what works in the background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headway.core.config import Config
from headway.core.erasure import ErasureProof
from headway.core.errors import HeadwayError
from headway.core.record import digest_of, kind_of
from headway.core.settings.project import ProjectSection
from headway.dashboard.access.sessions import Sessions
from headway.dashboard.access.sign_in import SignIn
from headway.dashboard.live import LiveView
from headway.dashboard.workers import AnswerCache, WorkerProcess
from headway.monitoring.settings.ui import UiSection
from headway.registry.project import Project, project_of


class NotFound(HeadwayError):
    """The dashboard has nothing of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What every page reads: the projects by name, who may sign in, and the processes for heavy work.

    Work of some minutes has a process of its own, `long_work`, so that it holds up no other page.
    """

    projects: Mapping[str, Project]
    config: Config
    sessions: Sessions
    sign_in: SignIn
    workers: WorkerProcess
    long_work: WorkerProcess
    cache: AnswerCache
    live: LiveView
    erased: dict[str, str] = field(default_factory=dict)

    def drop_erased(self, project: Project) -> None:
        """Forget the answers of pages if rows of a project were erased since the last request: they may hold some."""
        last = project.state.latest(kind_of(ErasureProof), name=project.name)
        mark = digest_of(last) if last else ""
        if self.erased.setdefault(project.name, mark) != mark:
            self.cache.drop()
            self.erased[project.name] = mark

    def project(self, name: str) -> Project:
        """Return the project of a model; raises NotFound."""
        found = self.projects.get(name)
        if found is None:
            raise NotFound(f"no model {name!r} is open here", hint="headway ui --project FOLDER, once for each project")
        return found

    def close(self) -> None:
        """Close the stores and end the processes for heavy work."""
        self.sign_in.close()
        self.workers.close()
        self.long_work.close()
        self.live.close()
        for project in self.projects.values():
            project.state.close()


def open_dashboard(configs: Sequence[Config]) -> Dashboard:
    """Open the projects of a dashboard; the first one has its settings and the people who may sign in."""
    config = configs[0]
    projects = {project.name: project for project in map(project_of, configs)}
    return Dashboard(
        projects=projects,
        config=config,
        sessions=Sessions(idle_s=config[UiSection].idle_minutes * 60, at_most_s=config[UiSection].session_hours * 3600),
        sign_in=SignIn(config, models=frozenset(projects), state=projects[config[ProjectSection].name].state),
        workers=WorkerProcess(),
        long_work=WorkerProcess(),
        cache=AnswerCache(),
        live=LiveView(projects),
    )
