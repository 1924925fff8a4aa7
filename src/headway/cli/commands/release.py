"""Sign the winner of a search with its evidence and make it live."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.monitoring.alerts.deliver import start_delivery
from headway.registry.project import open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text.terminal import render_release


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    who: str = "",
    why: str = "",
    override: str = "",
    json: AsJson = False,
) -> None:
    """Sign the winner of a search and point `live` at it; refused (exit 1) unless its verdict is pass.

    Example: headway release --project headway-demo --why "first release"
    Example: headway release --project headway-demo --who ada --override "the storm days are known to be wrong"

    Parameters
    ----------
    who
        Who releases; default: the name of the user.
    why
        Reason, for the history.
    override
        Reason to release a winner whose verdict is not pass; signed with who, when and the verdict.
    """
    opened = open_project(project)
    search_result = pipeline.find_search(opened, search)
    if not override:
        pipeline.expect_unchanged(opened, search_result)
    published = pipeline.release(opened, search_result, who=who or getuser(), why=why, override=override)
    pipeline.send_lineage(opened, callback=print_status)
    start_delivery(opened.config)
    print_result(published, render_release(published.move, published.key_setup.created), json=json)
