"""No viewer sets an address that the product asks: not by a page's query, and not by a form."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.dashboard import visits
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.house.source_tree import ROOT

FIELD = re.compile(r"""\b(?:form|query)(?:\.get\(|\.getlist\(|\[)"([\w-]+)\"""")
PAGES = sorted((ROOT / "src/headway/dashboard").rglob("*.py"))
FIELDS = sorted({field for page in PAGES for field in FIELD.findall(page.read_text(encoding="utf-8"))})
"""Names of everything that a page reads of a query or a form."""
SETTINGS = ("reason", "url", "address", "source", "issuer", "endpoint", "server", "servers", "webhook", "callback")
"""Names by which addresses are set elsewhere."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of a stranger, which must get no connection."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


@pytest.fixture
def served(empty_project: Path, tmp_path: Path) -> Iterator[RunningDashboard]:
    """A dashboard of an empty project of its own."""
    shutil.copy(empty_project / "headway.toml", tmp_path)
    with running_dashboard(tmp_path) as running:
        yield running


def settings_of(folder: Path) -> dict[str, bytes]:
    """Return what the settings, the people and the keys of a project are."""
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}


def expect_silence(listener: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        listener.accept()


def path_of(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "x", path.replace("{model}", "flights"))


def test_fields_of_pages_are_found() -> None:
    assert {"from", "after", "next", "password"} <= {*FIELDS}


@pytest.mark.slow
def test_a_viewer_sets_no_address_by_the_query_or_a_form_of_any_page(served, listener, tmp_path):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/stolen"
    fields, before = dict.fromkeys((*FIELDS, *SETTINGS), url), settings_of(tmp_path)
    query, viewer, visitor = urlencode(fields), served.visitor("viewer"), served.visitor()
    for view in visits.views():
        if view.path != "/events":  # a stream that does not end
            for person in (viewer, visitor):
                answer = person.get(f"{path_of(view.path)}?{query}")
                assert answer.status < 500 and not answer.headers.get("location", "").startswith(url), view.path
    for action in visits.actions():
        for person in (served.visitor("viewer"), visitor):  # signing out is one of the actions
            answer = person.post(path_of(action.path), **fields)
            assert answer.status < 500 and not answer.headers.get("location", "").startswith(url), action.path
            if action.role not in ("", "viewer"):
                assert answer.status in (303, 401, 403), action.path
    expect_silence(listener)
    assert settings_of(tmp_path) == before


@pytest.mark.slow
def test_no_form_of_an_admin_sets_an_address_either(served, listener, tmp_path):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/stolen"
    before = (tmp_path / "headway.toml").read_bytes()
    for action in visits.actions():
        served.visitor("admin").post(path_of(action.path), **dict.fromkeys((*FIELDS, *SETTINGS), url))
    expect_silence(listener)
    assert (tmp_path / "headway.toml").read_bytes() == before
