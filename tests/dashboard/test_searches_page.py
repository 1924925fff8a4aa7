"""The pages of searches: the list with filters, one search, and two models compared point by point."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from tests.dashboard.people import Answer, Person, RunningDashboard, running_dashboard
from tests.pipeline import explored

from headway import pipeline
from headway.core.evidence import Measurement
from headway.core.late import LateFunction
from headway.dashboard.shown import Picture
from headway.registry.searches import list_searches, save_search, search_digest

pytestmark = pytest.mark.slow
SEARCHES = "/models/small/searches"
READY_WITHIN_S = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was searched once, and whose winner is live."""
    folder = tmp_path_factory.mktemp("small")
    project = explored.searched(folder)
    pipeline.release(project, pipeline.last_search(project), who="ann", override="the first one")
    project.state.close()
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[RunningDashboard]:
    with running_dashboard(folder) as running:
        yield running


def ready(person: Person, path: str) -> Answer:
    """Open a page until what it waits for is there."""
    deadline = time.monotonic() + READY_WITHIN_S
    while "data-waiting" in (found := person.get(path)).text:
        assert time.monotonic() < deadline
    return found


def test_an_empty_project_has_no_searches_and_says_how_to_start_one(empty_project: Path) -> None:
    with running_dashboard(empty_project) as running:
        found = running.visitor("viewer").get("/models/flights/searches")
    assert found.status == 200 and "Nothing was searched yet" in found.words and "headway optimize" in found.words


def test_the_list_links_to_each_search_and_filters_by_the_address(served: RunningDashboard) -> None:
    person = served.visitor("viewer")
    found = person.get(SEARCHES)
    digest = search_digest(served.dashboard.project("small"))
    assert f"{SEARCHES}/{digest[7:19]}" in found.text and "evaluated" in found.words
    assert "No search matches" in person.get(f"{SEARCHES}?winner=nothing").words
    assert person.get(f"{SEARCHES}?found=none").status == 200
    for query in ("verdict=maybe", "before=-1", "before=x"):
        assert person.get(f"{SEARCHES}?{query}").status == 400


def test_a_long_list_has_pages(served: RunningDashboard) -> None:
    project = served.dashboard.project("small")
    result = pipeline.last_search(project)
    for minute in range(60):
        save_search(project, replace(result, at=f"2020-01-01T00:{minute:02}:00+00:00"))
    person = served.visitor("viewer")
    first = person.get(SEARCHES)
    oldest = list_searches(project, limit=50)[-1].position
    assert f"before={oldest}" in first.text and first.text.count('scope="row"') == 50
    second = person.get(f"{SEARCHES}?before={oldest}")
    assert second.text.count('scope="row"') == 11 and "Newest" in second.words and "Older" not in second.words


def test_a_search_shows_its_frontier_and_why_each_variant_lost(served: RunningDashboard) -> None:
    digest = list_searches(served.dashboard.project("small"))[-1].record.search
    found = ready(served.visitor("viewer"), f"{SEARCHES}/{digest[7:19]}")
    assert found.status == 200 and found.text.count("<svg") == 2 and "style=" not in found.text
    result = pipeline.find_search(served.dashboard.project("small"), digest)
    for name, why in result.reasons.items():
        assert name in found.words and why.split(":")[0].split(" x")[0][:12] in found.words.replace("\u202f", " ")
    assert "Left out" in found.words


def test_a_search_that_does_not_exist_is_not_found(served: RunningDashboard) -> None:
    found = served.visitor("viewer").get(f"{SEARCHES}/0123456789ab")
    assert found.status == 404 and "choose it from the list of searches" in found.words


def compared(served: RunningDashboard, role: str, first: str, second: str, **more: str) -> Answer:
    digest = search_digest(served.dashboard.project("small"))
    query = urlencode({"first": first, "second": second, **more})
    return ready(served.visitor(role), f"{SEARCHES}/{digest[7:19]}/compare?{query}")  # type: ignore[arg-type]


def two(served: RunningDashboard) -> tuple[str, str]:
    """Return the baseline, and the variant with the fewest trees."""
    evaluated = pipeline.last_search(served.dashboard.project("small")).evaluated
    cut = [row.variant for row in evaluated if "truncate" in row.variant.name]
    baseline = next(row.variant for row in evaluated if not row.variant.steps)
    return min(cut, key=lambda variant: int(variant.steps[0].settings["trees"])).digest, baseline.digest


def test_two_variants_are_compared_and_only_operators_see_rows(served: RunningDashboard) -> None:
    first, second = two(served)
    for role, sees in (("viewer", False), ("labeller", False), ("operator", True)):
        found = compared(served, role, first, second)
        assert found.status == 200 and "Decisions that flip" in found.words and "slices with 1,000 rows" in found.words
        assert ("Rows that the two decide differently" in found.words) is sees
        assert ("Operators also see example rows" in found.words) is not sees
        assert ("2013-02-1" in found.words) is sees
    assert "Calibration" in found.words and "Latency of one row" in found.words and "style=" not in found.text


def test_a_histogram_that_a_busy_machine_did_not_give_is_measured_again(
    served: RunningDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = served.dashboard.long_work.run, list[LateFunction]()
    picture = Picture(title="Calls", alt="Times of calls", reading=(), wide="<svg></svg>", narrow="<svg></svg>")

    def run(function: LateFunction, *arguments: object, **keywords: object) -> object:
        made.append(function)
        comparison = real(function, *arguments, **keywords)
        is_busy = len(made) == 1
        return dataclasses.replace(
            comparison, times=None if is_busy else picture, busy="the machine is busy" if is_busy else ""
        )

    monkeypatch.setattr(served.dashboard.long_work, "run", run)
    second, first = two(served)
    assert "No histogram of call times: the machine is busy." in compared(served, "viewer", first, second).words
    assert "No histogram" not in compared(served, "viewer", first, second).words
    compared(served, "viewer", first, second)
    assert [function.name for function in made] == ["compare"] * 2


def test_a_release_is_compared_with_a_variant_on_later_rows(served: RunningDashboard) -> None:
    release = served.dashboard.project("small").registry.head("small@live").release
    found = compared(served, "viewer", f"small@{release}", two(served)[1], period="live")
    assert found.status == 200 and "labelled rows of live" in found.words


def test_what_cannot_be_compared_is_named(served: RunningDashboard) -> None:
    first, second = two(served)
    assert compared(served, "viewer", first, "small@elsewhere").status == 400
    assert compared(served, "viewer", first, second, period="test").status == 400
    form = compared(served, "viewer", "", "")
    assert form.status == 200 and "Over all rows" not in form.words


def test_the_privacy_that_a_search_measured_is_shown_and_compared(served: RunningDashboard) -> None:
    first, second = two(served)
    assert "Privacy" not in compared(served, "viewer", first, second).words
    project = served.dashboard.project("small")
    result = pipeline.last_search(project)
    rate = Measurement(
        name="privacy.membership.tpr_1pct",
        value=0.11,
        low=0.08,
        high=0.14,
        method="t",
        n_rows=2_400,
        n_groups=40,
        se=0.01,
    )
    rows = tuple(
        replace(row, evidence=replace(row.evidence, measurements=(*row.evidence.measurements, rate)))
        for row in result.evaluated
    )
    digest = save_search(project, replace(result, evaluated=rows))
    shown = served.visitor("viewer").get(f"{SEARCHES}/{digest[7:19]}").words
    assert "Privacy of the variants" in shown and "[0.08" in shown.partition("Privacy of the variants")[2][:600]
    assert "Training rows recognized at 1 % false alarms" in compared(served, "viewer", first, second).words
