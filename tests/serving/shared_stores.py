"""Projects whose state and feed are on "another machine", which can be away; see `stores/` for the plug-ins."""

from __future__ import annotations

from pathlib import Path

from tests.monitoring import rollouts

STORES = Path(__file__).parent / "stores"
SECTION = '[store]\nstate = "switched://{folder}/database"\nfeed = "folder://{folder}/feed"\n'


def shared_project(folder: Path, *, section: str = SECTION) -> rollouts.Project:
    """Create a project with these stores, and a live release."""
    project = rollouts.project(folder, toml=rollouts.TOML + section.format(folder=folder))
    rollouts.live(project, rollouts.release(made_at="1"))
    return project


def switch(folder: Path, *, away: bool) -> None:
    """Take a store away, or bring it back."""
    if away:
        (folder / "away").touch()
    else:
        (folder / "away").unlink()
