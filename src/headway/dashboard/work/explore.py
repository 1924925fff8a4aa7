"""Heavy work of the page Explore: the tables from which it answers at once."""

from __future__ import annotations

from headway import pipeline
from headway.core.config import Config
from headway.dashboard.work.labels import opened


def make(config: Config, digest: str) -> None:
    """Make the tables of a search, unless they are there."""
    with opened(config) as project:
        pipeline.prepare_explore(project, digest, pipeline.periods(project))
