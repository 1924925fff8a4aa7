"""Every action of every page works by its form alone, in a real browser that runs no scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.browser import open_browser
from tests.dashboard import acts
from tests.dashboard.people import RunningDashboard

pytestmark = [pytest.mark.slow, pytest.mark.services]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    with acts.served_acts(tmp_path_factory.mktemp("acts")) as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("path", acts.PATHS)
def test_an_action_works_by_its_form_alone(browser: Browser, running: RunningDashboard, path: str) -> None:
    acts.act(browser, running, path)
