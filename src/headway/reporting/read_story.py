"""The story of a project read back from its store: nothing is measured again, and what was not kept is not told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headway.core.evidence import Evidence
from headway.core.frontier import Frontier
from headway.core.provenance import Provenance, Tracked
from headway.registry.project import Project
from headway.reporting import periods
from headway.reporting.read_data_use import data_use
from headway.reporting.read_year import kept, made_of, release_of, year_of
from headway.reporting.story import Span, Story
from headway.reporting.text import curves


def story_of(project: Project) -> Story:
    """The last search of a project, the release that came of it, and its year; without a search, the year alone."""
    spans, year, curve = _spans(project), year_of(project), curves.last(project)
    frontiers = kept(project, Frontier)
    if not frontiers:
        return Story(title=project.name, spans=spans, year=year, curve=curve)
    found, policy = frontiers[-1], project.config.policy
    measured = [each for each in kept(project, Evidence) if not each.reference]
    subjects = (found.winner.evidence.subject, found.origin.evidence.subject)
    return Story(
        title=project.name,
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        frontier=found.judged,
        left=found.left,
        reasons=found.reasons,
        refusals=found.refusals,
        winner=found.winner,
        as_it_came=_of_origin(found, measured),
        months=tuple(each for each in measured if each.subject in subjects and periods.is_dated(each.period)),
        spans=spans,
        data=found.baseline.data,
        tracked=_tracked(project, found.baseline.data.values()),
        release=_released(project, frontiers),
        year=year,
        curve=curve,
        data_use=data_use(project, found.winner.variant.signature.names),
    )


def _tracked(project: Project, digests: Iterable[str]) -> tuple[Tracked, ...]:
    """What DVC said of the files from which the data of these digests was read."""
    known = {each.digest: each.tracked for each in kept(project, Provenance)}
    return tuple(dict.fromkeys(each for digest in digests for each in known.get(digest, ())))


def _released(project: Project, frontiers: Sequence[Frontier]) -> str:
    """The release that was made of the last winner, if it ever went live; it may have been examined since."""
    moves = project.register.history(project.name)
    made, live = made_of(project, moves), {move.release for move in moves if move.pointer == "live"}
    last = frontiers[-1].winner.evidence
    same = [each.winner for each in frontiers if each.winner.evidence.subject == last.subject]
    digests = (release_of(each.verdict, made) for each in reversed(same) if each.evidence.dataset == last.dataset)
    return next((digest for digest in digests if digest in live), "")


def _of_origin(found: Frontier, measured: Sequence[Evidence]) -> Evidence | None:
    """What was measured of the model as it came on the rows on which the winner was judged."""
    judged = found.winner.evidence
    same = (each for each in measured if (each.period, each.dataset) == (judged.period, judged.dataset))
    return next((each for each in same if each.subject == found.origin.evidence.subject), None)


def _spans(project: Project) -> tuple[Span, ...]:
    split = project.config.split
    named = {"train": split.train, "choose": split.choose, "test": split.test, "live": split.live}
    return tuple(Span(name=name, first=dates[0], until=dates[1]) for name, dates in named.items() if dates)
