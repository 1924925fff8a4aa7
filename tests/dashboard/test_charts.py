"""The scripts of charts: from the installed package, small, kept by browsers for ever, for people who are signed in."""

from __future__ import annotations

import gzip

import pytest
from tests.dashboard.people import RunningDashboard

from headway.dashboard import bundle
from headway.dashboard.work import charts as work

pytestmark = pytest.mark.slow
MAX_BYTES = 400_000
PATH = bundle.PATH.format(name=bundle.bundle_name())


def test_the_bundle_is_kept_for_ever_under_a_name_that_changes_with_the_package(
    served: RunningDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = served.visitor("viewer").get(PATH, **{"Accept-Encoding": "gzip"})
    assert found.status == 200 and found.headers["content-type"].startswith("text/javascript")
    assert "immutable" in found.headers["cache-control"] and "vegaEmbed" in found.text
    assert found.headers["content-encoding"] == "gzip" and found.sent_bytes <= MAX_BYTES
    assert served.visitor("viewer").get(PATH, **{"Accept-Encoding": ""}).text == found.text
    monkeypatch.setattr(bundle, "version", lambda _: "9.9")
    bundle.bundle_name.cache_clear()
    try:
        assert bundle.PATH.format(name=bundle.bundle_name()) != PATH
    finally:
        bundle.bundle_name.cache_clear()


def test_the_bundle_is_the_same_in_each_process_and_can_interpret_expressions(served: RunningDashboard) -> None:
    made = gzip.decompress(work.bundle(bundle.SNIPPET))
    assert made.decode() == served.visitor("viewer").get(PATH, **{"Accept-Encoding": ""}).text
    assert b"expressionInterpreter" in made


def test_strangers_and_old_names_get_no_bundle(served: RunningDashboard) -> None:
    assert served.visitor().get(PATH).status == 401
    assert served.visitor("viewer").get("/charts/vega-0123456789abcdef.js").status == 404
