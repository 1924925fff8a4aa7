"""Heavy work of the page of labels: what to label next, and how far people agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headway.core.config import Config
from headway.core.labeling import LabelRequest
from headway.monitoring.labeling import agreement, selection
from headway.registry.project import Project, project_of
from headway.storage.addresses import log_root

Classes = Sequence[tuple[float, str]]


@contextmanager
def opened(config: Config) -> Iterator[Project]:
    """Open a project for one piece of work."""
    project = project_of(config)
    try:
        yield project
    finally:
        project.state.close()


def next_requests(config: Config, count: int) -> tuple[Classes, list[LabelRequest]]:
    """Return the classes of a label, and the requests to label next."""
    with opened(config) as project:
        return selection.label_classes(project), selection.next_to_label(project, count)


def next_second_opinions(config: Config, who: str, count: int) -> tuple[Classes, list[LabelRequest]]:
    """Return the classes of a label, and the requests that one other person labeled."""
    with opened(config) as project:
        return selection.label_classes(project), selection.second_opinions(project, who, count)


def save_agreement(config: Config) -> None:
    """Measure how far people agree in the stored labels, and save it."""
    with opened(config) as project:
        labels = agreement.stored_annotations(log_root(config, project.name), project.name)
        project.save(agreement.measure_agreement(labels, name=project.name, source="stored labels"))
