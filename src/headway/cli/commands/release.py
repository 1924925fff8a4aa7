"""Sign the winner of a search with its evidence and make it live."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

from msgspec import to_builtins

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.core.errors import ConfigError, Refused
from headway.monitoring.alerts.deliver import start_delivery
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text.terminal import render_release


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    who: str = "",
    why: str = "",
    override: str = "",
    approved: bool = False,
    follow: bool = False,
    unpublished: bool = False,
    overrides: bool = False,
    json: AsJson = False,
) -> None:
    """Sign the winner of a search and point `live` at it; refused (exit 1) unless its verdict is pass.

    Example: headway release --project headway-demo --why "first release"
    Example: headway release --project headway-demo --who ada --override "the storm days are known to be wrong"
    Example: headway release --project headway-demo --approved

    Parameters
    ----------
    who
        Who releases; default: the name of the user.
    why
        Reason, for the history.
    override
        Reason to release a winner whose verdict is not pass; signed with who, when and the verdict.
    approved
        Complete what people approved in the dashboard, with the publisher's key of this machine, and nothing else.
    follow
        With --approved: go on as approvals come, for releases that are signed already and for stages of rollouts.
    unpublished
        With --follow: also sign winners of searches and retrained models. Anyone with write access to the store could
        have made those.
    overrides
        With --follow: also what the judge did not pass.
    """
    opened = open_project(project)
    if not approved and (follow or unpublished or overrides):
        raise ConfigError("only approvals can be followed", hint="headway release --approved --follow")
    if approved:
        return _complete(opened, follow=follow, unpublished=unpublished, overrides=overrides, json=json)
    search_result = pipeline.find_search(opened, search)
    if not override:
        pipeline.expect_unchanged(opened, search_result)
    published = pipeline.release(opened, search_result, who=who or getuser(), why=why, override=override)
    pipeline.send_lineage(opened, callback=print_status)
    start_delivery(opened.config)
    print_result(published, render_release(published.move, published.key_setup.created), json=json)


def _complete(project: Project, *, follow: bool, unpublished: bool, overrides: bool, json: bool) -> None:
    """Complete approvals; raises Refused if none waits, or if none could be completed."""
    if follow:
        print_status("waiting for approvals; Ctrl-C ends this")
        pipeline.follow_approvals(project, unpublished=unpublished, overrides=overrides, callback=print_status)
    found = pipeline.complete_approvals(project, callback=print_status)
    if not any(outcome.completed for outcome in found):
        what = "; ".join(outcome.message for outcome in found) or f"no approval of {project.name} waits"
        raise Refused(what, hint="the page Approve of headway ui shows what waits, and takes a new approval")
    pipeline.send_lineage(project, callback=print_status)
    start_delivery(project.config)
    print_result([to_builtins(outcome) for outcome in found], "\n".join(one.message for one in found), json=json)
