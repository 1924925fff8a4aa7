"""Searches of a project: all are kept, listed by their summaries, and found by their digest."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from headway.core.errors import StoreError
from headway.core.record import digest_of, kind_of, read
from headway.core.search_result import SearchResult, SearchSummary
from headway.core.verdict import Answer
from headway.registry.project import Project, Saved

PAGE = 50
MIN_DIGITS = 4
SPEEDUPS = ("latency.speedup", "cost.cpu_s.one_row.speedup")
_NEWEST = 20
_KIND = kind_of(SearchResult)


def save_search(project: Project, result: SearchResult, *, is_evaluation: bool = False) -> str:
    """Save a search result with its summary, and return its digest.

    Parameters
    ----------
    is_evaluation : bool
        Whether the winner of an earlier search was evaluated again.
    """
    _summarize_older(project)
    digest = project.save(result)
    project.save(summarize_search(result, digest, is_evaluation=is_evaluation))
    return digest


def list_searches(
    project: Project,
    *,
    limit: int = PAGE,
    before: int = 0,
    answer: Answer | None = None,
    winner: str = "",
    improved: bool | None = None,
) -> list[Saved[SearchSummary]]:
    """Return a page of the summaries of searches, newest first: at most `limit`, saved before the index `before`.

    Searches of a store that an older headway wrote are summarized first, once.

    Parameters
    ----------
    answer : {"pass", "fail", "undecided"}, optional
        Only those with this verdict on the winner.
    winner : str
        Only those whose winner's name contains this, in any case.
    improved : bool, optional
        Only those that found a faster variant, or only those that kept the baseline.
    """
    _summarize_older(project)
    found: list[Saved[SearchSummary]] = []
    for saved in _summaries(project, before=before):
        record = saved.record
        if answer in (None, record.answer) and improved in (None, record.improved):
            if winner.lower() in record.winner.lower():
                found.append(saved)
            if len(found) == limit:
                break
    return found


def find_search(project: Project, reference: str = "") -> SearchResult:
    """Return the search of a digest, or of its first digits; the last one if that is empty.

    The last one is the one that ended last, as it was evaluated last.

    Raises
    ------
    StoreError
        If there is none, or if several begin with these digits.
    """
    return read_search(project, search_digest(project, reference))


def search_digest(project: Project, reference: str = "") -> str:
    """Return the digest of the search that a reference names; see `find_search`."""
    if not reference:
        return _last(project)
    _summarize_older(project)
    return _digest_of(project, reference)


def read_search(project: Project, digest: str) -> SearchResult:
    """Return the search of a digest; raises StoreError if there is none."""
    found = project.records(SearchResult, digest=digest)
    if not found:
        raise StoreError(f"no search has the digest {digest}", where=_where(project), hint="headway searches")
    return found[0]


def summarize_search(result: SearchResult, digest: str, *, is_evaluation: bool = False) -> SearchSummary:
    """Return the summary of a search result with this digest."""
    return SearchSummary(
        name=result.name,
        search=digest,
        at=result.at,
        winner=result.winner.variant.name,
        answer=result.winner.verdict.answer,
        improved=result.improved,
        speedup=next((found for name in SPEEDUPS if (found := result.measured(name))), None),
        n_evaluated=len(result.evaluated),
        n_screened_out=len(result.screened_out),
        n_left_out=result.n_left_out,
        seconds=result.seconds,
        budget_s=result.budget_s,
        is_evaluation=is_evaluation,
    )


def _last(project: Project) -> str:
    """Return the digest of the search that ended last, as it was evaluated last; nothing is written."""
    newest = project.state.latest(_KIND, name=project.name)
    if newest is None:
        raise StoreError("no variant was searched for yet", where=_where(project), hint="headway optimize")
    evaluated: dict[str, str] = {}
    for saved in _summaries(project) if _has_summary(project, newest) else ():
        summary = saved.record
        evaluated.setdefault(summary.at, summary.search)
        if not summary.is_evaluation:
            return evaluated[summary.at]
    return digest_of(newest)  # an older headway saved it without a summary


def _has_summary(project: Project, newest: bytes) -> bool:
    return digest_of(newest) in {saved.record.search for saved in project.recent(SearchSummary, limit=_NEWEST)}


def _digest_of(project: Project, reference: str) -> str:
    digits = reference.removeprefix("sha256:").lower()
    known = {saved.record.search for saved in _summaries(project)} if len(digits) >= MIN_DIGITS else set()
    found = sorted(digest for digest in known if digest.removeprefix("sha256:").startswith(digits))
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} searches begin with {reference!r}" if found else f"no search has the digest {reference!r}"
    hint = "give more digits of it" if found else f"headway searches lists them; give {MIN_DIGITS} digits or more"
    raise StoreError(what, where=_where(project), hint=hint)


def _summaries(project: Project, *, before: int = 0) -> Iterator[Saved[SearchSummary]]:
    while page := project.recent(SearchSummary, limit=PAGE, before=before):
        yield from page
        before = page[-1].position


def _summarize_older(project: Project) -> None:
    """Save the summaries of results that an older headway saved without: those after the last that has one."""
    newest = project.state.latest(_KIND, name=project.name)
    if newest is None or _has_summary(project, newest):
        return
    known = {saved.record.search for saved in _summaries(project)}
    missing: list[SearchSummary] = []
    for content in _results(project):
        digest = digest_of(content)
        if digest in known:
            break
        missing.append(summarize_search(read(SearchResult, content), digest))
    seen = {saved.record.at for saved in _summaries(project)}
    for summary in reversed(missing):
        project.save(replace(summary, is_evaluation=summary.at in seen))
        seen.add(summary.at)


def _results(project: Project) -> Iterator[bytes]:
    """Yield the stored results one by one, newest first: one may have a megabyte."""
    before = 0
    while page := project.state.recent(_KIND, name=project.name, limit=1, before=before):
        yield page[0].content
        before = page[0].position


def _where(project: Project) -> str:
    return str(project.config.state)
