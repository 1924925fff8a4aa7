"""People label requests, give second opinions, and correct or confirm suspected labels."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from tests.dashboard.people import Answer, Person, RunningDashboard, running_dashboard
from tests.monitoring import rollouts
from tests.monitoring.labeling.test_next_to_label import log
from tests.pipeline.projects import write

from headway.core.action import PersonAction
from headway.core.labeling import Agreement, Confirmation, Correction, Suspects
from headway.dashboard.access.sessions import Role
from headway.data.open import open_dataset
from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.registry.project import Project
from headway.storage.traffic import Label, labels_of, save_labels

pytestmark = pytest.mark.slow
N_REQUESTS, N_MODELS = 24, 8
MODELS = iter([f"model{number}" for number in range(N_MODELS)])


@dataclass(frozen=True)
class LabelPages:
    """The pages of labels of one model."""

    running: RunningDashboard
    model: str

    @property
    def project(self) -> Project:
        return self.running.dashboard.project(self.model)

    @property
    def page(self) -> str:
        return f"/models/{self.model}/labels"

    def visitor(self, name: str = "ann", role: Role = "labeller") -> Person:
        return self.running.visitor(role, name=name)

    def stored(self, key: str) -> list[tuple[float, str]]:
        labels = labels_of(self.project.config.state, self.model, key)
        return [(label.label, label.who) for label in labels]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A dashboard of models whose live releases answered requests without labels: one for each test."""
    folders = []
    for number in range(N_MODELS):
        name = f"model{number}"
        folders.append(tmp_path_factory.mktemp(name))
        toml = rollouts.TOML.replace('"flights"', f'"{name}"') + '[personal]\nkey = "keys/personal.key"\n'
        project = rollouts.project(folders[-1], toml=toml)
        rollouts.live(project, rollouts.release(name=name))
        log(project, [0.5] * N_REQUESTS)
        project.state.close()
    with running_dashboard(*folders) as running:
        yield running


@pytest.fixture
def labeling(running: RunningDashboard) -> LabelPages:
    """The pages of a model that no other test labels."""
    return LabelPages(running, next(MODELS))


def shown_key(answer: Answer) -> str:
    found = re.search(r'name="key" value="([^"]*)"', answer.text)
    return found[1] if found else ""


def names_key(answer: Answer, key: str) -> bool:
    """Return whether a page has a key as a word anywhere; a random token may hold its letters."""
    return re.search(rf"(?<![\w-]){key}(?![\w-])", answer.text) is not None


def test_a_label_is_stored_with_who_gave_it_and_the_next_request_follows(labeling):
    person = labeling.visitor()
    page = person.get(labeling.page)
    key = shown_key(page)
    assert "What the model was given" in page.words
    assert person.post(labeling.page, key=key, label="1").status == 303
    assert labeling.stored(key) == [(1.0, "ann")]
    following = person.get(labeling.page)
    assert f"{key} is labeled 1." in following.words
    assert shown_key(following) not in ("", key)
    (action,) = labeling.project.records(PersonAction)
    assert (action.who, action.action, action.subject, action.outcome) == ("ann", "label.given", key, "labeled 1")


def test_a_label_of_an_unknown_class_or_without_a_key_is_refused(labeling):
    person = labeling.visitor()
    key = shown_key(person.get(labeling.page))
    assert person.post(labeling.page, key=key, label="7").status == 400
    assert person.post(labeling.page, key="", label="1").status == 400
    assert labeling.stored(key) == []


def test_a_viewer_sees_no_request(labeling):
    found = labeling.visitor(role="viewer").get(labeling.page)
    assert found.status == 403
    assert not any(names_key(found, f"k{number}") for number in range(12))
    assert ">Labels<" not in labeling.visitor(role="viewer").get("/").text


def label_all(person: Person, page: str, given: list[str]) -> None:
    while key := shown_key(person.get(page)):
        person.post(page, key=key, label=str(len(given) % 2))
        given.append(key)


def test_two_people_who_label_at_once_lose_and_double_no_label(labeling):
    people = [labeling.visitor(name) for name in ("ann", "ben")]
    given: dict[str, list[str]] = {"ann": [], "ben": []}
    people[0].get(labeling.page)
    threads = [
        threading.Thread(target=label_all, args=(person, labeling.page, given[person.session.user]))
        for person in people
        if person.session
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not set(given["ann"]) & set(given["ben"])
    keys = [f"k{number}" for number in range(N_REQUESTS)]
    labeled = {key: found for key in keys if (found := labeling.stored(key))}
    assert {key: [who for _, who in found] for key, found in labeled.items()} == {
        key: [name] for name, those in given.items() for key in those
    }
    assert len(labeled) >= N_REQUESTS - 2  # the least similar requests are not chosen


def test_the_label_of_another_person_is_not_replaced_and_both_see_that(labeling):
    ann, ben = (labeling.visitor(name) for name in ("ann", "ben"))
    key = shown_key(ann.get(labeling.page))
    ann.post(labeling.page, key=key, label="0")
    ben.post(labeling.page, key=key, label="1")
    assert f"Not saved: ann labeled {key} as 0 before you." in ben.get(labeling.page).words
    assert labeling.stored(key) == [(0.0, "ann")]
    ann.post(labeling.page, key=key, label="0")
    assert labeling.stored(key) == [(0.0, "ann")]
    ann.post(labeling.page, key=key, label="1")
    assert labeling.stored(key) == [(0.0, "ann"), (1.0, "ann")]


def test_a_skipped_request_is_shown_to_others(labeling):
    ann, ben = (labeling.visitor(name) for name in ("ann", "ben"))
    key = shown_key(ann.get(labeling.page))
    assert shown_key(ben.get(labeling.page)) != key
    ann.post(labeling.page, key=key, label="skip")
    assert shown_key(ann.get(labeling.page)) != key
    ben.post(labeling.page, key=shown_key(ben.get(labeling.page)), label="skip")
    assert shown_key(ben.get(labeling.page)) == key


def test_a_request_that_is_erased_is_shown_no_more(labeling):
    person = labeling.visitor()
    page = person.get(labeling.page)
    key = shown_key(page)
    assert names_key(page, key)
    erase(labeling.project, ErasureRequest(key=key, who="ann", why="asked for it"), wait=lambda _: None)
    assert shown_key(person.get(labeling.page)) not in ("", key)
    assert not names_key(person.get(f"{labeling.page}?key={key}"), key)


def test_second_opinions_give_an_agreement(labeling):
    state = labeling.project.config.state
    save_labels(state, labeling.model, [Label(f"k{number}", float(number % 2)) for number in range(12)], who="ann")
    ben = labeling.visitor("ben")
    assert "No request was labeled by one other person" in labeling.visitor().get(f"{labeling.page}/second").words
    for _ in range(12):
        key = shown_key(ben.get(f"{labeling.page}/second"))
        ben.post(labeling.page, list="second", key=key, label=str(int(key[1:]) % 2 if key != "k3" else 0))
    assert labeling.stored("k3") == [(1.0, "ann"), (0.0, "ben")]
    assert "It was not measured yet" in ben.get(f"{labeling.page}/agreement").words
    ben.post(f"{labeling.page}/agreement")
    found = labeling.project.latest(Agreement)
    assert found is not None
    assert found.annotators == ("ann", "ben")
    page = ben.get(f"{labeling.page}/agreement").words
    assert "2 people, 12 requests with two labels or more" in page
    assert "ann & ben" in page


def test_without_a_request_the_page_says_what_to_do(served):
    found = served.visitor("labeller").get("/models/flights/labels")
    assert found.status == 200
    assert "Nothing to label" in found.words


@pytest.fixture
def suspicious(tmp_path: Path) -> Iterator[RunningDashboard]:
    """A dashboard of a project whose every 40th label is flipped."""
    folder = write(tmp_path)
    file = folder / "table.parquet"
    table = pl.read_parquet(file).with_row_index()
    flipped = pl.when(pl.col("index") % 40 == 0).then(1 - pl.col("late")).otherwise("late")
    table.with_columns(late=flipped).drop("index").write_parquet(file)
    with running_dashboard(folder) as running:
        yield running


def test_a_suspected_label_is_corrected_or_confirmed_and_waits_no_more(suspicious):
    name = next(iter(suspicious.dashboard.projects))
    page = f"/models/{name}/labels/suspects"
    person, project = suspicious.visitor("labeller", name="ann"), suspicious.dashboard.project(name)
    assert "The labels were not examined yet." in person.get(page).words
    person.post(page)
    found = project.latest(Suspects)
    assert found is not None
    first, second, *_ = found.rows
    shown = person.get(page)
    assert f"Row {first.row:,}" in shown.words
    assert f"Change to {first.likely_label}" in shown.words
    review = f"{page}/review"
    fields = {"row": str(first.row), "digest": first.digest}
    assert person.post(review, **fields, to=first.likely_label).status == 400
    assert person.post(review, **{**fields, "digest": second.digest}, to="1", reason="x").status == 409
    person.post(review, **fields, to=first.likely_label, reason="the tower log shows it")
    person.post(review, row=str(second.row), digest=second.digest, to="", reason="seen on paper")
    (corrected,), (confirmed,) = project.records(Correction), project.records(Confirmation)
    assert (corrected.who, corrected.why, corrected.row) == ("ann", "the tower log shows it", first.digest)
    assert (confirmed.who, confirmed.why, confirmed.row) == ("ann", "seen on paper", second.digest)
    assert open_dataset(project.config).table["late"][first.row - 1] == int(first.likely_label)
    after = person.get(page)
    assert "confirmed by ann" in after.words
    assert f'id="row-{first.row}"' not in after.text
    assert f'id="row-{second.row}"' not in after.text
    person.post(page)
    again = project.latest(Suspects)
    assert again is not None
    assert second.row not in [suspect.row for suspect in again.rows]
    assert suspicious.visitor("viewer").get(page).status == 403
