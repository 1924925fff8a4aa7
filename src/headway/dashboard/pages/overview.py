"""Every model: what is live since when, whether it is healthy and why, traffic now, open tickets, running rollouts."""

from __future__ import annotations

from headway.dashboard.live import stream_events
from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.dashboard.pages.data import FEATURES
from headway.monitoring.overview import ConditionCode, Topic
from headway.reporting.text import overview as words

TABS: dict[Topic, str] = {
    "release": "Approve",
    "quality": "Timeline",
    "data": "Data",
    "service": "Service",
    "schedule": "Alerts",
    "threats": "Security",
}
"""The tab on which a person acts on a reason."""
OF_VALUES: tuple[ConditionCode, ...] = ("values differ", "values not replayed")
"""Reasons that the page of the features explains."""


def _overview(call: Call) -> Reply:
    now = call.dashboard.live.now()
    models = [(found.state, words.live_parts(found.state, found.traffic)) for found in now.models.values()]
    values = {"now": now, "models": models, "places": TABS, "of_values": OF_VALUES, "features": FEATURES}
    return Rendered(template="overview.html", values=values)


def _events(call: Call) -> Reply:
    return stream_events(call.dashboard.live, call.dashboard.sessions, call.session.key)


plugin = Page(
    views=[View("/", _overview), View("/events", _events, in_background=True)],
    title="Overview",
    order=0,
)
