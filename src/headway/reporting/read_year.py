"""The year of a project read back from its store: which records there are, and what was live in each period."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from headway.core.record import StoredRecordType, read
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.ticket import Ticket
from headway.core.training import Retraining
from headway.core.verdict import Verdict
from headway.core.watch import MonitoringReport
from headway.registry.project import Project
from headway.reporting.story import DatedRetraining, LiveChange, MonitoringHistory, RolloutSummary, Stamp

Stamps = Mapping[str, Stamp]


def read_monitoring_history(project: Project, *, since: datetime | None = None) -> MonitoringHistory | None:
    """What the records say of the time since the first release went live; None while they say nothing.

    `since` leaves out what was done before that time by the clock, as of a demo that was run before. Raises Refused
    where the moves of pointers were tampered with.
    """
    moves = [each for each in project.register.history(project.name) if _after(each.at, since)]
    stamps = {record.of: record for record in read_records(project, Stamp)}
    rollouts = [record for record in read_records(project, Rollout) if _after(record.started_at, since)]
    retrainings = [record for record in read_records(project, Retraining) if _after(record.frontier.at, since)]
    trials, learned = _trials(rollouts, read_records(project, Verdict), stamps), _learned(retrainings, stamps)
    lives = _lives([move for move in moves if move.pointer == "live"], trials)
    ever = {life.move.release for life in lives}
    made = released_verdicts(project, moves)
    year = MonitoringHistory(
        watches=_of_live(
            [record for record in read_records(project, MonitoringReport) if record.release in ever], lives
        ),
        tickets=tuple(record for record in read_records(project, Ticket) if record.release in ever),
        trials=trials,
        learned=learned,
        turns=tuple(LiveChange(at=life.at, move=life.move, back=life.back) for life in lives[1:] if not life.trial),
        names=_names(
            lives, {release_of_verdict(each.retraining.frontier.winner.verdict, made): each for each in learned}
        ),
        limits={"ece": project.config.retrain.ece_at_most},
    )
    return year if any((year.watches, year.tickets, trials, learned, year.turns)) else None


def read_records(project: Project, kind: type[StoredRecordType]) -> list[StoredRecordType]:
    """The records of a kind that the project keeps, oldest first."""
    return project.records(kind)


class _Life(NamedTuple):
    """A move of `live`: from when, whether to a release that had been live before, and whether by a rollout."""

    at: str
    move: PointerUpdate
    back: bool
    trial: bool


def _lives(moves: Sequence[PointerUpdate], trials: Sequence[RolloutSummary]) -> list[_Life]:
    """A release that a rollout made live is so from the time of the rollout, which may be that of replayed data."""
    promoted = {
        rollout_summary.rollout.release: rollout_summary.at
        for rollout_summary in trials
        if rollout_summary.rollout.standing == "promoted"
    }
    found: list[_Life] = []
    for move in moves:
        back = move.release in [life.move.release for life in found]
        trial = not back and move.release in promoted
        found.append(_Life(at=promoted[move.release] if trial else move.at, move=move, back=back, trial=trial))
    return found


def _trials(rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], stamps: Stamps) -> tuple[RolloutSummary, ...]:
    """One for each rollout, by its salt: how it was begun is in its first record, where it stands in its last."""
    begun: dict[str, Rollout] = {}
    last: dict[str, Rollout] = {}
    for rollout in rollouts:
        begun.setdefault(rollout.salt, rollout)
        last[rollout.salt] = rollout
    return tuple(
        RolloutSummary(
            at=stamps[salt].at if salt in stamps else rollout.stage_at,
            rollout=rollout,
            aim=begun[salt].why,
            verdict=_on(rollout, verdicts),
            note=stamps[salt].note if salt in stamps else "",
        )
        for salt, rollout in last.items()
    )


def _on(rollout: Rollout, verdicts: Sequence[Verdict]) -> Verdict | None:
    """The last verdict on the release while it was rolled out."""
    first, end = _time(rollout.started_at), _time(rollout.stage_at)
    found = [verdict for verdict in verdicts if verdict.subject == rollout.release and verdict.at]
    return next((verdict for verdict in reversed(found) if first <= _time(verdict.at) <= end), None)


def _after(at: str, since: datetime | None) -> bool:
    return since is None or _time(at) >= since.astimezone()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def _learned(retrainings: Sequence[Retraining], stamps: Stamps) -> tuple[DatedRetraining, ...]:
    """One for each key, as it was kept last."""
    last = {retraining.key: retraining for retraining in retrainings}
    at = {key: stamps[key].at if key in stamps else each.frontier.at for key, each in last.items()}
    return tuple(DatedRetraining(at=at[key], retraining=each) for key, each in last.items())


def _of_live(watches: Sequence[MonitoringReport], lives: Sequence[_Life]) -> tuple[MonitoringReport, ...]:
    """One a period: the last kept of the release that was live in the middle of it, or else the last kept.

    Periods of another length than those that were looked at last are left out.
    """
    found: dict[str, dict[str, MonitoringReport]] = {}
    for watch in watches:
        if len(watch.period) == len(watches[-1].period):
            found.setdefault(watch.period, {})[watch.release] = watch
    chosen = []
    for period in sorted(found):
        last = list(found[period].values())[-1]
        chosen.append(found[period].get(_live_in(last, lives), last))
    return tuple(chosen)


def _live_in(watch: MonitoringReport, lives: Sequence[_Life]) -> str:
    """The release that was live in the middle of a period; the first is taken to have been so from ever."""
    first, end = datetime.fromisoformat(watch.since), datetime.fromisoformat(watch.until)
    middle = (first + (end - first) / 2).isoformat()
    # ISO times compare as texts; a month alone (2013-11) stands for its first day
    before = [life.move.release for number, life in enumerate(lives) if not number or life.at <= middle]
    return before[-1] if before else ""


def _names(lives: Sequence[_Life], learned: Mapping[str, DatedRetraining]) -> dict[str, str]:
    """What each release that was ever live is called, no two the same; `learned` is by release."""
    names: dict[str, str] = {}
    for release in (life.move.release for life in lives):
        if release and release not in names:
            name = _renewed(learned[release]) if release in learned else f"release {len(names) + 1}"
            name = name if names else "first release"
            names[release] = f"{name}, release {len(names) + 1}" if name in names.values() else name
    return names


def _renewed(learned: DatedRetraining) -> str:
    done = "retrained" if learned.retraining.trainings else "recalibrated"
    return f"{done} in {calendar.month_name[int(learned.at[5:7])]}"


def released_verdicts(project: Project, moves: Sequence[PointerUpdate]) -> list[tuple[Verdict, str]]:
    """Verdicts for which a release was made live or canary, each with its digest, in the order of the moves."""
    found = []
    for move in moves:
        for content in project.state.records("verdict", name=project.name, digest=move.verdict) if move.verdict else ():
            found.append((read(Verdict, content), move.release))
    return found


def release_of_verdict(verdict: Verdict, made: Sequence[tuple[Verdict, str]]) -> str:
    """The release that was made on this verdict; empty if none."""
    return next((release for known, release in made if known == verdict), "")
