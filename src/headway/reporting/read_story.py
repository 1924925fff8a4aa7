"""The story of a project read back from its store: nothing is measured again, and what was not kept is not told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headway.core.evidence import Evidence
from headway.core.provenance import Provenance, Tracked
from headway.core.search_result import SearchResult
from headway.registry.project import Project
from headway.reporting import periods
from headway.reporting.read_data_use import read_data_use
from headway.reporting.read_year import read_monitoring_history, read_records, release_of_verdict, released_verdicts
from headway.reporting.story import ReportData, SplitPeriod
from headway.reporting.text import curves


def read_report_data(project: Project) -> ReportData:
    """The last search of a project, the release that came of it, and its year; without a search, the year alone."""
    spans, year, curve = _spans(project), read_monitoring_history(project), curves.last_curve(project)
    frontiers = read_records(project, SearchResult)
    if not frontiers:
        return ReportData(title=project.name, spans=spans, year=year, curve=curve)
    found, policy = frontiers[-1], project.config.policy
    measured = [record for record in read_records(project, Evidence) if not record.reference]
    subjects = (found.winner.evidence.subject, found.origin.evidence.subject)
    return ReportData(
        title=project.name,
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        frontier=found.judged,
        left=found.left,
        reasons=found.reasons,
        refusals=found.refusals,
        winner=found.winner,
        as_it_came=_of_origin(found, measured),
        months=tuple(record for record in measured if record.subject in subjects and periods.is_dated(record.period)),
        spans=spans,
        data=found.baseline.data,
        tracked=_tracked(project, found.baseline.data.values()),
        release=_released(project, frontiers),
        year=year,
        curve=curve,
        data_use=read_data_use(project, found.winner.variant.signature.names),
    )


def _tracked(project: Project, digests: Iterable[str]) -> tuple[Tracked, ...]:
    """What DVC said of the files from which the data of these digests was read."""
    known = {record.digest: record.tracked for record in read_records(project, Provenance)}
    return tuple(dict.fromkeys(each for digest in digests for each in known.get(digest, ())))


def _released(project: Project, frontiers: Sequence[SearchResult]) -> str:
    """The release that was made of the last winner, if it ever went live; it may have been examined since."""
    moves = project.register.history(project.name)
    made, live = released_verdicts(project, moves), {move.release for move in moves if move.pointer == "live"}
    last = frontiers[-1].winner.evidence
    same = [frontier.winner for frontier in frontiers if frontier.winner.evidence.subject == last.subject]
    digests = (
        release_of_verdict(each.verdict, made) for each in reversed(same) if each.evidence.dataset == last.dataset
    )
    return next((digest for digest in digests if digest in live), "")


def _of_origin(found: SearchResult, measured: Sequence[Evidence]) -> Evidence | None:
    """What was measured of the model as it came on the rows on which the winner was judged."""
    judged = found.winner.evidence
    same = (evidence for evidence in measured if (evidence.period, evidence.dataset) == (judged.period, judged.dataset))
    return next((evidence for evidence in same if evidence.subject == found.origin.evidence.subject), None)


def _spans(project: Project) -> tuple[SplitPeriod, ...]:
    split = project.config.split
    named = {"train": split.train, "choose": split.choose, "test": split.test, "live": split.live}
    return tuple(SplitPeriod(name=name, first=dates[0], until=dates[1]) for name, dates in named.items() if dates)
