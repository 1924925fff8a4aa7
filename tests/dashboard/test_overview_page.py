"""The overview: a card for each model, and the stream that keeps it current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.dashboard.people import Person, RunningDashboard, running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.test_overview import watched

from headway.core.monitoring import Ticket
from headway.dashboard import live
from headway.dashboard.page import Call
from headway.dashboard.security import COOKIE

BROKEN = '[ui]\nservers = ["http://127.0.0.1:1"]\n'


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A dashboard of two projects: one with a live release, a ticket and a rollout, and one whose server is away."""
    folders: list[Path] = []
    for name, more in (("flights", ""), ("fares", BROKEN)):
        folder = tmp_path_factory.mktemp(name)
        opened = rollouts.project(folder, toml=rollouts.TOML.replace("flights", name) + more)
        if name == "flights":
            digest = rollouts.live(opened, rollouts.release())
            opened.save(watched(digest, "degraded", message="2026-10: <b>it ranks worse</b>."))
            opened.save(
                Ticket(
                    name=name,
                    release=digest,
                    reasons=("rows",),
                    why="many rows",
                    at="1997-01-01",
                    opened_at="2026-11-01T00:00:00",
                )
            )
        opened.state.close()
        folders.append(folder)
    with running_dashboard(*folders) as running:
        yield running


def test_a_card_says_what_is_live_since_when_and_why_a_person_is_needed(released):
    words = released.visitor("viewer").get("/").words
    assert "flights ! needs attention In 2026-10 it is worse than when it was judged." in words
    assert "2026-10: <b>it ranks worse</b>." in words
    assert ", by ann" in words
    assert "Tickets one, open since 2026-11-01" in words
    assert "All " in words
    assert "a ticket proposes to retrain" in words.lower()


def test_what_is_broken_or_cannot_be_judged_is_shown_as_that(released):
    words = released.visitor("viewer").get("/").words
    assert "fares ✗ broken No server answers (http://127.0.0.1:1: it refused the connection)." in words
    assert "0 of 1 answer" in words
    assert "no release is live" in words


def test_a_page_says_as_of_when_it_is_and_how_to_see_the_present(released):
    page = released.visitor("viewer").get("/")
    assert "As of 20" in page.words
    assert "Reload" in page.words
    assert "<b>it ranks" not in page.text


def stream(person: Person) -> tuple[HTTPConnection, object]:
    connection = HTTPConnection("127.0.0.1", person.port, timeout=30)
    cookie = {"Cookie": f"{COOKIE}={person.session.key}"} if person.session else {}
    connection.request("GET", "/events", headers={"Host": f"127.0.0.1:{person.port}", **cookie})
    return connection, connection.getresponse()


def next_event(response: object) -> tuple[str, dict[str, dict[str, str]]]:
    lines = [response.readline().decode().rstrip("\n") for _ in range(3)]
    assert lines[2] == ""
    return lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_the_stream_sends_what_the_page_shows_and_ends_with_the_session(released, monkeypatch):
    monkeypatch.setattr(live, "EVERY_S", 0.05)
    person = released.visitor("viewer")
    connection, response = stream(person)
    try:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        name, parts = next_event(response)
        assert name == "now"
        assert parts["flights.state"] == {"text": "! needs attention", "style": "undecided"}
        assert parts["fares.servers"]["text"].startswith("0 of 1 answer")
        page = person.get("/").text
        assert {f'data-live="{part}"' in page for part in parts} == {True}
        released.dashboard.sessions.end(person.session.key)
        while name == "now":
            name, _ = next_event(response)
        assert name == "end"
        assert response.read() == b""
    finally:
        connection.close()


def test_a_stream_does_not_prolong_a_session_and_needs_one(released):
    person = released.visitor("viewer")
    seen = person.session.seen_s
    connection, response = stream(person)
    next_event(response)
    connection.close()
    assert person.session.seen_s == seen
    assert released.visitor().get("/events").status == 303


def test_the_number_of_streams_is_limited(released, monkeypatch):
    monkeypatch.setattr(live, "MAX_STREAMS", 0)
    connection, response = stream(released.visitor("viewer"))
    try:
        assert next_event(response)[0] == "end"
    finally:
        connection.close()


def test_the_overview_is_read_again_after_a_person_did_something(released, monkeypatch):
    monkeypatch.setattr(live, "FRESH_S", 1000.0)
    shown = released.dashboard.live.now()
    assert released.dashboard.live.now() is shown
    call = Call(dashboard=released.dashboard, session=released.visitor("admin").session, path={"model": "flights"})
    call.save_action("rollback", reason="a test")
    assert released.dashboard.live.now() is not shown
