"""Test every page of the dashboard."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.dashboard.people import running_dashboard

from headway.core import plugins
from headway.dashboard.access.sessions import ROLES
from headway.dashboard.app import load_page
from headway.dashboard.page import Page

PAGES = {name: load_page(name) for name in plugins.names("page")}
MODEL = "/models/{model}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("flights")
    (folder / "headway.toml").write_text(f'[project]\nname = "flights"\n\n[trust]\ntrusted_keys = "{folder}.txt"\n')
    with running_dashboard(folder) as running:
        yield running


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_views_for_known_roles(name: str) -> None:
    page = PAGES[name]
    assert isinstance(page, Page)
    assert page.views
    assert {part.role for part in (*page.views, *page.actions)} <= set(ROLES)
    assert not page.tab or page.views[0].path.startswith(MODEL)
    assert not page.title or "{" not in page.views[0].path


def test_no_two_pages_share_a_path_or_a_place() -> None:
    views = Counter(view.path for page in PAGES.values() for view in page.views)
    actions = Counter(action.path for page in PAGES.values() for action in page.actions)
    orders = Counter((bool(page.tab), page.order) for page in PAGES.values() if page.tab or page.title)
    assert max((views | actions | orders).values()) == 1


@pytest.mark.parametrize("path", sorted({page.views[0].path for page in PAGES.values()}))
def test_the_first_view_of_a_page_answers_for_a_project_in_which_nothing_was_done(served, path: str) -> None:
    found = served.visitor("admin").get(path.replace("{model}", "flights"))
    assert found.status == 200, found.words
    assert "<h1>" in found.text
    assert "{model}" not in found.text and "{{" not in found.words
