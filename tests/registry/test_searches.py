"""All searches of a project are kept, listed by their summaries, and found by their digest."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.registry.releasing import searched

from headway.core.errors import StoreError
from headway.core.search_result import SearchResult, SearchSummary
from headway.core.variant import Step
from headway.core.verdict import EvaluatedVariant
from headway.registry.project import Project, open_project
from headway.registry.searches import find_search, list_searches, save_search


@pytest.fixture
def project(tmp_path: Path) -> Project:
    trust = f'trusted_keys = "{tmp_path}/trusted.txt"\npublisher_key = "{tmp_path}/publisher.pem"\n'
    (tmp_path / "headway.toml").write_text(f'[project]\nname = "flights"\n[trust]\n{trust}')
    return open_project(tmp_path)


def at(project: Project, second: int) -> SearchResult:
    """Return a search that ended at that second of a minute, with a faster variant."""
    found = searched(project)
    steps = (Step(transform="trees"),)
    winner = replace(found.winner, variant=replace(found.winner.variant, steps=steps))
    return replace(found, winner=winner, at=f"2026-11-28T10:00:{second:02}+00:00")


def evaluated(result: SearchResult) -> SearchResult:
    """Return a search whose winner was evaluated again."""
    winner = replace(result.winner, evidence=replace(result.winner.evidence, at="2026-11-28T11:00:00+00:00"))
    return replace(result, winner=winner)


def times(project: Project, **filters: object) -> list[str]:
    return [saved.record.at[17:19] for saved in list_searches(project, **filters)]  # type: ignore[arg-type]


def test_every_search_is_listed_newest_first_in_pages(project: Project) -> None:
    digests = [save_search(project, at(project, second)) for second in range(5)]
    first = list_searches(project, limit=2)
    rest = list_searches(project, limit=9, before=first[-1].position)
    assert [saved.record.search for saved in (*first, *rest)] == digests[::-1]
    assert [saved.record.seconds for saved in first] == [0.0, 0.0]


def test_a_list_reads_summaries_alone(project: Project) -> None:
    for second in range(3):
        save_search(project, at(project, second))
    read = []
    records = project.state.records
    project.state.records = lambda *kind, **names: read.append(kind) or records(*kind, **names)  # type: ignore[method-assign]
    assert len(list_searches(project)) == 3 and not read


def test_searches_of_an_older_headway_are_listed_once_it_is_asked_for_them(project: Project) -> None:
    older = [at(project, second) for second in range(3)]
    for result in (*older, evaluated(older[1])):
        project.save(result)
    assert times(project) == ["01", "02", "01", "00"]
    assert [saved.record.is_evaluation for saved in list_searches(project)] == [True, False, False, False]
    assert len(project.records(SearchSummary)) == 4
    project.save(at(project, 9))  # an older headway writes into the same store
    assert times(project) == ["09", "01", "02", "01", "00"]
    assert len(project.records(SearchSummary)) == 5


def test_a_new_search_lists_those_before_it(project: Project) -> None:
    project.save(at(project, 0))
    save_search(project, at(project, 1))
    assert times(project) == ["01", "00"]


def test_a_list_is_filtered_by_verdict_winner_and_improvement(project: Project) -> None:
    found = at(project, 0)
    kept = replace(found, at="2026-11-28T10:00:01+00:00", winner=failed(baseline_of(found)))
    for result in (found, kept):
        save_search(project, result)
    assert times(project, answer="fail") == ["01"]
    assert times(project, answer="pass") == ["00"]
    assert times(project, improved=False) == ["01"]
    assert times(project, winner="BASELINE") == ["01"]
    assert times(project, winner="no such") == []


def baseline_of(result: SearchResult) -> EvaluatedVariant:
    return replace(result.winner, variant=replace(result.winner.variant, steps=()))


def failed(row: EvaluatedVariant) -> EvaluatedVariant:
    return replace(row, verdict=replace(row.verdict, answer="fail"))


def test_a_search_is_found_by_the_first_digits_of_its_digest(project: Project) -> None:
    results = [at(project, second) for second in range(2)]
    digests = [save_search(project, result) for result in results]
    assert find_search(project, digests[0]) == results[0]
    assert find_search(project, digests[0].removeprefix("sha256:")[:10]) == results[0]
    assert find_search(project, digests[1][:17].upper().replace("SHA256", "sha256")) == results[1]


def test_the_last_search_is_the_one_that_ended_last_as_evaluated_last(project: Project) -> None:
    first, last = at(project, 0), at(project, 1)
    save_search(project, first)
    save_search(project, last)
    save_search(project, evaluated(last), is_evaluation=True)
    assert find_search(project) == evaluated(last)
    save_search(project, evaluated(first), is_evaluation=True)
    assert find_search(project) == evaluated(last)


def test_the_last_search_of_an_older_store_is_read_without_writing(project: Project) -> None:
    last = at(project, 3)
    project.save(last)
    assert find_search(project) == last
    assert project.records(SearchSummary) == []


def test_a_summary_whose_search_never_ended_is_followed_by_the_search(project: Project) -> None:
    again = evaluated(at(project, 0))
    save_search(project, again, is_evaluation=True)
    assert find_search(project) == again


@pytest.mark.parametrize(
    ("reference", "what"),
    [("abc", "no search has the digest 'abc'"), ("00000000", "no search has the digest")],
)
def test_a_digest_that_names_no_search_is_an_error(project: Project, reference: str, what: str) -> None:
    save_search(project, at(project, 0))
    with pytest.raises(StoreError, match=what) as caught:
        find_search(project, reference)
    assert "headway searches" in caught.value.hint


def test_digits_that_several_searches_begin_with_are_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = [save_search(project, at(project, second)).removeprefix("sha256:")[0] for second in range(17)]
    monkeypatch.setattr("headway.registry.searches.MIN_DIGITS", 1)
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(StoreError, match=f"searches begin with '{twice}'"):
        find_search(project, twice)


def test_a_project_without_a_search_says_what_to_do(project: Project) -> None:
    assert list_searches(project) == []
    with pytest.raises(StoreError, match="no variant was searched for yet") as caught:
        find_search(project)
    assert caught.value.hint == "headway optimize"


def test_a_summary_whose_search_was_deleted_is_an_error(project: Project) -> None:
    summary = SearchSummary(
        name=project.name, search="sha256:" + "ab" * 32, at="", winner="x", answer="pass", improved=False
    )
    project.save(summary)
    with pytest.raises(StoreError, match="no search has the digest"):
        find_search(project, "abab")
