"""A model over time: chart, events, releases, the record behind each mark, and what changed between two releases."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from msgspec.structs import replace
from tests.dashboard import lived_in
from tests.dashboard.people import Answer, RunningDashboard, running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.test_overview import watched

from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.monitoring import Drift, MonitoringAnswer, Ticket
from headway.core.variant import Field, Signature
from headway.monitoring import rollout as control

HOST = Machine(cpu="a", cores=2, system="Linux", python="3.13")


def measured(name: str, value: float) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        low=value - 0.02,
        high=value + 0.02,
        method="t",
        n_rows=1000,
        n_groups=30,
        se=0.01,
        dof=29.0,
        bounds=(0.0, 1.0),
    )


def month(number: int, release: str, **changes: object) -> object:
    """A report on a month of 2026 with quality, cost and drift."""
    p = Measurement(name="drift.p", value=0.4, low=0.4, high=0.4, method="exact", n_rows=1)
    return watched(
        release,
        period=f"2026-{number:02}",
        since=f"2026-{number:02}-01T00:00:00",
        until=f"2026-{number + 1:02}-01T00:00:00",
        quality=(measured("roc_auc", 0.8), measured("ece", 0.03)),
        cost=replace(measured("retrain.expected_loss", 0.5), unit="cost a month"),
        drift=Drift(alarm=False, measurements=(p,)),
        **changes,
    )


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningDashboard, str, str]]:
    """A dashboard of a model with two releases, three months and a ticket; yields the digests of both."""
    project = rollouts.project(tmp_path_factory.mktemp("flights"))
    first = rollouts.release(made_at="2026-06-01T00:00:00+00:00", threshold=0.25)
    evidence = Evidence(
        subject=first.variant.digest,
        dataset="sha256:" + 64 * "1",
        period="test",
        machine=HOST,
        measurements=(measured("roc_auc", 0.8),),
    )
    old = rollouts.live(project, replace(first, evidence=(evidence,)))
    inputs = Signature(inputs=(Field(name="a"), Field(name="<b>", datatype="BYTES", categories=("x",))))
    variant = replace(first.variant, signature=inputs)
    new = rollouts.publish(project, replace(first, made_at="2026-08-01T00:00:00+00:00", variant=variant))
    control.start_rollout(project, new, plan=rollouts.SHORT, who="ann", why="<i>one column</i> more")
    shown = (MonitoringAnswer(question="degradation", level=0.01, shown=("roc_auc.change",)),)
    for report in (month(7, old), month(8, old), month(9, old, status="degraded", answers=shown, message="AUC fell")):
        project.save(report)
    project.save(Ticket(name="flights", release=old, reasons=("rows",), why="many rows", at="2026-09-20T00:00:00"))
    project.state.close()
    with running_dashboard(project.config) as running:
        yield running, old, new


def drawn(served: RunningDashboard, path: str = "/models/flights") -> Answer:
    """Load a page until its heavy work is done."""
    deadline = time.monotonic() + 120
    while "data-waiting" in (page := served.visitor("viewer").get(path)).text:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return page


@pytest.mark.slow
def test_the_chart_has_quality_calibration_cost_and_drift_and_no_inline_style(history):
    page = drawn(history[0])
    assert page.status == 200
    for title in ("Ranking (AUC)", "Calibration error (ECE)", "Additional cost per month", "Drift of the inputs"):
        assert title in page.text
    assert "<svg" in page.text
    assert "style=" not in page.text
    assert "event.invalid" not in page.text


@pytest.mark.slow
def test_every_mark_and_every_event_opens_its_record(history):
    served, *_ = history
    page = drawn(served)
    marks = re.findall(r'<a href="(/models/flights/evidence/[^"]*)" aria-label="([^"]+)">', page.text)
    links = set(re.findall(r'href="(/models/flights/evidence/[^"]*)"', page.text))
    assert len(marks) >= 2 * 3  # degradation and ticket, wide and narrow, and in the list
    assert {"Degradation found", "A ticket proposes to retrain"} <= {name for _, name in marks}
    for link in links:
        found = served.visitor("viewer").get(link)
        assert found.status == 200, link
        assert "<h1>" in found.text


@pytest.mark.slow
def test_events_are_filtered_and_the_releases_are_listed_with_who_and_why(history):
    page = drawn(history[0], "/models/flights?kind=ticket")
    assert "A ticket proposes to retrain" in page.words
    assert "Degradation found 2026" not in page.words
    assert "ann" in page.words
    assert "&lt;i&gt;one column&lt;/i&gt; more" in page.text
    canary = history[0].visitor("viewer").get("/models/flights?pointer=canary").words
    assert "canary:" in canary
    assert "live: " not in canary


def test_while_the_chart_is_drawn_the_page_says_so(history):
    page = history[0].visitor("viewer").get("/models/flights?periods=60")
    assert page.status == 200
    assert "data-waiting" in page.text
    assert "Load the page again" in page.words
    assert "What changed between two releases" in page.words


@pytest.mark.slow
def test_what_changed_between_two_releases(history):
    served, old, new = history
    page = drawn(served, f"/models/flights/changes?from={quote(old)}&to={quote(new)}")
    assert page.status == 200
    assert "Model file" not in page.words.partition("The same in both")[0]
    assert "<b> none category of 1 values" in page.words
    assert "b number none" in page.words
    assert "Ranking (AUC) 0.800 [0.780, 0.820]" in page.words
    assert "not measured" in page.words
    back = drawn(served, f"/models/flights/changes?from={new[7:]}&to={old[7:]}")
    assert "<b> category of 1 values, unseen ones: missing none" in back.words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("?periods=7", 400),
        ("?periods=x", 400),
        ("?before=99999999999999999999", 400),
        ("?pointer=other", 400),
        ("/evidence/sha256:" + 64 * "0", 404),
        ("/changes", 400),
        ("/changes?from=<script>&to=1", 400),
        (f"/changes?from={64 * '0'}&to={64 * '1'}", 404),
    ],
)
def test_an_address_that_leads_nowhere_is_an_error_with_a_hint(history, path, status):
    found = history[0].visitor("viewer").get(f"/models/flights{path}")
    assert found.status == status
    assert "What to do:" in found.words
    assert "<script>&" not in found.text


@pytest.mark.slow
def test_a_model_without_a_past_says_so(tmp_path):
    project = rollouts.project(tmp_path)
    project.state.close()
    with running_dashboard(tmp_path) as served:
        page = drawn(served)
    assert "No two periods were monitored yet" in page.words
    assert "No release was made." in page.words


@pytest.mark.slow
def test_records_of_an_earlier_headway_open_from_their_marks(tmp_path):
    with running_dashboard(lived_in.write(tmp_path)) as served:
        page = drawn(served, "/models/small")
        links = set(re.findall(r'href="(/models/small/evidence/[^"]*)"', page.text))
        assert links
        answers = {link: served.visitor("viewer").get(link).status for link in links}
    assert set(answers.values()) == {200}, answers


@pytest.mark.slow
def test_the_chart_that_a_browser_draws_opens_the_same_records(history):
    found = drawn(history[0])
    specs = re.findall(r'<script type="application/json">(.*?)</script>', found.text, re.DOTALL)
    assert len(specs) == 2 and "event.invalid" not in found.text
    for spec in specs:
        assert json.loads(spec)["vconcat"]
        pictured = set(re.findall(r'<a href="([^"]*/evidence/[^"]*)"', found.text))
        assert pictured >= set(re.findall(r'"href": "([^"]+)"', spec)) > set()
