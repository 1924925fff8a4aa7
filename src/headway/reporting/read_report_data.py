"""Read the data of a report from a project's store; nothing is measured again."""

from __future__ import annotations

import calendar
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import combinations

from msgspec.structs import replace

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.dataset import OUTCOME, Roles
from headway.core.errors import HeadwayError
from headway.core.evidence import Evidence
from headway.core.feature_report import FeatureReport
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.plan import DeploymentPlan
from headway.core.provenance import Provenance, TrackedData
from headway.core.record import StoredRecordType, kind_of, read
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.search_result import SearchResult
from headway.core.selective import CertificateWithdrawal
from headway.core.threats import ThreatAssessment
from headway.core.training import Retraining
from headway.core.value_replay import ValueReplay
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.data.personal.detection import PERSONAL
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.split import SplitSection
from headway.monitoring.erasure.proofs import load_erasures
from headway.monitoring.feature_status import last_of_release, looked_up
from headway.monitoring.rollout import rollout_traffic
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.project import Project
from headway.registry.searches import find_search
from headway.reporting.report_data import (
    ColumnUse,
    DataUse,
    DatedRetraining,
    LiveChange,
    MonitoringHistory,
    ReleaseState,
    ReleaseStatus,
    ReportData,
    RolloutSummary,
    SplitPeriod,
    Stamp,
)
from headway.reporting.text import curves, formatting


def read_report_data(project: Project, *, search: str = "") -> ReportData:
    """Read a search of a project (its digest, or the last), its release and the monitoring history.

    Without any search, the history alone.
    """
    spans, year, curve = split_periods(project), read_monitoring_history(project), curves.last_curve(project)
    releases, policy = read_releases(project), project.config[PolicySection]
    features, replay = read_live_features(project, releases)
    threats = project.latest(ThreatAssessment)
    plan = project.latest(DeploymentPlan)
    if not search and project.state.latest(kind_of(SearchResult), name=project.name) is None:
        return ReportData(
            title=project.name,
            spans=spans,
            year=year,
            curve=curve,
            releases=releases,
            features=features,
            value_replay=replay,
            threats=threats,
            plan=plan,
        )
    found = find_search(project, search)
    follow, reason = next_step(found.winner.verdict, year, releases)
    measured = [record for record in project.records(Evidence) if not record.reference]
    subjects = (found.winner.evidence.subject, found.evaluated_baseline.evidence.subject)
    return ReportData(
        title=project.name,
        slice_rows=policy.slice_rows,
        slice_groups=policy.slice_groups,
        frontier=found.evaluated,
        screened_out=found.screened_out,
        reasons=found.reasons,
        refusals=found.refusals,
        winner=found.winner,
        baseline_evidence=_baseline_evidence(found, measured),
        months=tuple(
            record for record in measured if record.subject in subjects and formatting.is_dated(record.period)
        ),
        spans=spans,
        data=found.baseline.data,
        tracked=_dvc_files(project, found.baseline.data.values()),
        release=_last_release(found.winner, releases),
        releases=releases,
        searched_at=found.at,
        next_step=follow,
        next_reason=reason,
        year=year,
        curve=curve,
        data_use=read_data_use(project, found.winner.variant.signature.names),
        features=features,
        value_replay=replay,
        threats=threats,
        plan=plan,
    )


def read_live_features(
    project: Project, releases: Sequence[ReleaseState]
) -> tuple[FeatureReport | None, ValueReplay | None]:
    """Return the last feature report and the last value replay of the live release."""
    live = next((state.release for state in releases if state.status == "live"), "")
    return last_of_release(project, FeatureReport, live), last_of_release(project, ValueReplay, live)


def _dvc_files(project: Project, digests: Iterable[str]) -> tuple[TrackedData, ...]:
    """Return the DVC records of the files behind the data of these digests."""
    known = {record.digest: record.tracked for record in project.records(Provenance)}
    return tuple(dict.fromkeys(file for digest in digests for file in known.get(digest, ())))


def read_releases(project: Project, *, since: datetime | None = None) -> tuple[ReleaseState, ...]:
    """Return the releases that were live or a canary, the live one first, then the latest.

    A release that live left for an earlier one was rolled back. A canary that was withdrawn was rolled back if the
    judge or a person found it worse, and else withdrawn.
    """
    moves = [move for move in project.registry.history(project.name) if _is_after(move.at, since)]
    lives = [move for move in moves if move.pointer == "live"]
    ever = {move.release for move in lives}
    worse = {record.release for record in project.records(Rollout) if record.status == "rolled back"}
    found: dict[str, ReleaseState] = {}
    for number, move in enumerate(lives):
        after = lives[number + 1] if number + 1 < len(lives) else None
        back = after is not None and after.release in {one.release for one in lives[:number]}
        status: ReleaseStatus = "live" if after is None else "rolled back" if back else "before"
        if move.release:
            found[move.release] = _release_state(project, move, status, after)
    for move in moves:
        if move.pointer == "canary" and move.release and move.release not in ever:
            later = (one for one in moves if one.pointer == "canary" and one.number > move.number)
            after = next((one for one in later if one.release != move.release), None)
            ended: ReleaseStatus = "rolled back" if move.release in worse else "withdrawn"
            found[move.release] = _release_state(project, move, ended if after else "canary", after)
    latest = sorted(found.values(), key=lambda state: state.at, reverse=True)
    return tuple(sorted(latest, key=lambda state: state.status != "live"))


def _release_state(
    project: Project, move: PointerUpdate, status: ReleaseStatus, after: PointerUpdate | None
) -> ReleaseState:
    try:
        release = project.registry.resolve(f"{move.name}@{move.release.removeprefix('sha256:')}").release
    except HeadwayError:  # changed or deleted since: the history still names it
        release = None
    return ReleaseState(
        release=move.release,
        name=release.variant.name if release else "a release that does not verify",
        status=status,
        pointer=move.pointer,
        at=move.at,
        who=move.who,
        why=move.why,
        answer=move.answer,
        until=after.at if after else "",
        ended_by=after.who if after else "",
        ended_why=after.why if after else "",
        variant=release.variant if release else None,
        verdict=release.verdict if release else None,
        views=looked_up(release.views) if release else (),
    )


def _last_release(winner: EvaluatedVariant, releases: Sequence[ReleaseState]) -> str:
    """Return the release that was made from the last winner, an override included; empty for none.

    The winner may have been evaluated again since. One that was live comes before one that was only a canary.
    """
    made = [
        state
        for state in releases
        if state.variant == winner.variant and state.verdict and state.verdict.subject == winner.evidence.subject
    ]
    return next((state.release for state in sorted(made, key=lambda state: state.pointer != "live")), "")


def next_step(verdict: Verdict, year: MonitoringHistory | None, releases: Sequence[ReleaseState]) -> tuple[str, str]:
    """Return the command that the last state of a project asks for, and the reason in a sentence.

    `verdict` is that of the last search.
    """
    last = next((watch for watch in reversed(year.watches) if watch.is_complete), None) if year else None
    if any(state.status == "canary" for state in releases):
        return "headway rollout watch", "A rollout is running."
    if not any(state.status == "live" for state in releases):
        if verdict.answer == "pass":
            return "headway release", "The last winner passed, and nothing is live."
        return "headway optimize", "The last winner did not pass: more test rows or other limits may decide."
    if last is None:
        return "headway serve", "It is live and not monitored yet: headway watch reports on its periods."
    if year and any(ticket.release == last.release for ticket in year.tickets):
        return "headway retrain", "A ticket is open: this shows what a retraining costs, and what waiting costs."
    if last.status == "degraded":
        back = f'headway rollout rollback --from {formatting.short_digest(last.release)} --why "..."'
        why = f"It shows whether a new calibration helps. Otherwise move live back: {back}"
        return "headway retrain --recalibrate", why
    if last.status == "unknown":
        return "headway watch --every 1q", "The last period could not be judged; a longer one has more labels."
    return "headway watch", "Nothing is shown to be wrong; the next period is judged when it has ended."


def _baseline_evidence(found: SearchResult, measured: Sequence[Evidence]) -> Evidence | None:
    """Return what was measured of the baseline on the rows that the winner was judged on."""
    judged = found.winner.evidence
    same = (evidence for evidence in measured if (evidence.period, evidence.dataset) == (judged.period, judged.dataset))
    return next((evidence for evidence in same if evidence.subject == found.evaluated_baseline.evidence.subject), None)


def split_periods(project: Project) -> tuple[SplitPeriod, ...]:
    """Return the declared periods of `[split]` with their first day and end."""
    split = project.config[SplitSection]
    named = {"train": split.train, "validation": split.validation, "test": split.test, "live": split.live}
    return tuple(SplitPeriod(name=name, first=dates[0], until=dates[1]) for name, dates in named.items() if dates)


Stamps = Mapping[str, Stamp]


def read_monitoring_history(
    project: Project, *, since: datetime | None = None, last: int = 0
) -> MonitoringHistory | None:
    """Read what was recorded since the first release went live; return None while there is nothing.

    `since` leaves out what was done before that time, such as an earlier run of the demo. With `last`, only so many of
    the last records of each kind are read. Raise Refused where pointer updates were tampered with.
    """
    records = partial(_last_records, project, last) if last else project.records
    updates = _last_updates(project, last) if last else project.registry.history(project.name)
    moves = [move for move in updates if _is_after(move.at, since)]
    stamps = {record.of: record for record in records(Stamp)}
    rollouts = [record for record in records(Rollout) if _is_after(record.started_at, since)]
    retrainings = [record for record in records(Retraining) if _is_after(record.search_result.at, since)]
    summaries, retrained = _rollouts(project, rollouts, records(Verdict), stamps), _retrainings(retrainings, stamps)
    lives = _live_changes([move for move in moves if move.pointer == "live"], summaries)
    ever = {change.move.release for change in lives}
    made = released_verdicts(project, moves)
    year = MonitoringHistory(
        watches=_of_live([record for record in records(MonitoringReport) if record.release in ever], lives),
        tickets=tuple(
            {(record.release, record.at): record for record in records(Ticket) if record.release in ever}.values()
        ),
        rollouts=summaries,
        retrainings=retrained,
        live_changes=tuple(change for change in lives[1:] if not change.by_rollout),
        names=_names(
            lives,
            {release_of_verdict(dated.retraining.search_result.winner.verdict, made): dated for dated in retrained},
            complete=not last or sum(move.pointer == "live" for move in updates) < last,
        ),
        withdrawals=tuple(record for record in records(CertificateWithdrawal) if record.release in ever),
        limits={"ece": project.config[RetrainSection].ece_at_most},
    )
    parts = (year.watches, year.tickets, summaries, retrained, year.live_changes, year.withdrawals)
    return year if any(parts) else None


def _last_updates(project: Project, last: int) -> list[PointerUpdate]:
    """Return the last updates of `live` and of `canary`, oldest first."""
    entries = [entry for at in ("live", "canary") for entry in project.registry.recent(project.name, at, limit=last)]
    return [entry.move for entry in sorted(entries, key=lambda entry: entry.index)]


def _last_records(project: Project, last: int, kind: type[StoredRecordType]) -> list[StoredRecordType]:
    """Return the last records of a class, oldest first."""
    return [saved.record for saved in reversed(project.recent(kind, limit=last))]


def _live_changes(moves: Sequence[PointerUpdate], rollouts: Sequence[RolloutSummary]) -> list[LiveChange]:
    """Return the updates of `live`.

    One made by a rollout has the rollout's time, which may be that of replayed data.
    """
    promoted = {summary.rollout.release: summary.at for summary in rollouts if summary.rollout.status == "promoted"}
    found: list[LiveChange] = []
    for move in moves:
        back = move.release in [change.move.release for change in found]
        by_rollout = not back and move.release in promoted
        at = promoted[move.release] if by_rollout else move.at
        found.append(LiveChange(at=at, move=move, back=back, by_rollout=by_rollout))
    return found


def _rollouts(
    project: Project, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], stamps: Stamps
) -> tuple[RolloutSummary, ...]:
    """Return one summary per rollout, by its salt: why it started is in its first record, its status in the last."""
    begun: dict[str, Rollout] = {}
    last: dict[str, Rollout] = {}
    for rollout in rollouts:
        begun.setdefault(rollout.salt, rollout)
        last[rollout.salt] = rollout
    following = {
        earlier.salt: later.started_at
        for later, earlier in combinations(reversed(last.values()), 2)  # the nearest one is written last
        if earlier.release == later.release
    }
    return tuple(
        RolloutSummary(
            at=stamps[salt].at if salt in stamps else rollout.stage_at,
            rollout=rollout,
            aim=begun[salt].why,
            verdict=_verdict_on(rollout, verdicts),
            note=stamps[salt].note if salt in stamps else "",
            traffic=rollout_traffic(project, rollout, until=following.get(salt, "")),
        )
        for salt, rollout in last.items()
    )


def _verdict_on(rollout: Rollout, verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the last verdict on the release during its rollout."""
    first, end = _time(rollout.started_at), _time(rollout.stage_at)
    found = [verdict for verdict in verdicts if verdict.subject == rollout.release and verdict.at]
    return next((verdict for verdict in reversed(found) if first <= _time(verdict.at) <= end), None)


def _is_after(at: str, since: datetime | None) -> bool:
    return since is None or _time(at) >= since.astimezone()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()


def _retrainings(retrainings: Sequence[Retraining], stamps: Stamps) -> tuple[DatedRetraining, ...]:
    """Return one retraining per key, as it was stored last."""
    last = {retraining.key: retraining for retraining in retrainings}
    at = {key: stamps[key].at if key in stamps else retraining.search_result.at for key, retraining in last.items()}
    return tuple(DatedRetraining(at=at[key], retraining=retraining) for key, retraining in last.items())


def _of_live(watches: Sequence[MonitoringReport], lives: Sequence[LiveChange]) -> tuple[MonitoringReport, ...]:
    """Return one report per period: the last of the release that was live in its middle, else the last stored.

    Periods with another length than the latest are left out.
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


def _live_in(watch: MonitoringReport, lives: Sequence[LiveChange]) -> str:
    """Return the release that was live in the middle of a period; the first counts as live from the beginning."""
    first, end = datetime.fromisoformat(watch.since), datetime.fromisoformat(watch.until)
    middle = (first + (end - first) / 2).isoformat()
    # ISO times compare as texts; a month alone (2013-11) stands for its first day
    before = [change.move.release for number, change in enumerate(lives) if not number or change.at <= middle]
    return before[-1] if before else ""


def _names(
    lives: Sequence[LiveChange], retrainings: Mapping[str, DatedRetraining], *, complete: bool = True
) -> dict[str, str]:
    """Return a unique name for each release that was ever live; `retrainings` is by release.

    Unless the updates are complete, releases cannot be numbered, and their digests name them.
    """
    if not complete:
        return {change.move.release: formatting.short_digest(change.move.release) for change in lives}
    names: dict[str, str] = {}
    for release in (change.move.release for change in lives):
        if release and release not in names:
            name = _retraining_name(retrainings[release]) if release in retrainings else f"release {len(names) + 1}"
            name = name if names else "first release"
            names[release] = f"{name}, release {len(names) + 1}" if name in names.values() else name
    return names


def _retraining_name(dated: DatedRetraining) -> str:
    done = "retrained" if dated.retraining.trainings else "recalibrated"
    return f"{done} in {calendar.month_name[int(dated.at[5:7])]}"


def released_verdicts(project: Project, moves: Sequence[PointerUpdate]) -> list[tuple[Verdict, str]]:
    """Return the verdicts behind releases that went live or canary, with their digests, in order of the updates."""
    found = []
    for move in moves:
        for content in project.state.records("verdict", name=project.name, digest=move.verdict) if move.verdict else ():
            found.append((read(Verdict, content), move.release))
    return found


def release_of_verdict(verdict: Verdict, made: Sequence[tuple[Verdict, str]]) -> str:
    """Return the release made on this verdict; empty if none."""
    return next((release for known, release in made if known == verdict), "")


NOT_READ = "none: the model does not read it"
_ROLES = {
    "target": "target",
    "time": "time of a row, for the periods",
    "groups": "groups of dependent rows, for intervals",
    "query_id": "query of a ranking",
    "sample_weight": "weight of a row",
    "slices": "slices that are judged separately",
    "sensitive_features": "groups of people, for fairness",
}


def read_data_use(project: Project, read: Collection[str]) -> DataUse | None:
    """Return every column that checks, settings or model know, and its use; None where no target is declared.

    `read` are the columns that the model reads.
    """
    config = project.config
    if not config[DataSection].target:
        return None
    seen = [record for record in project.records(Assessment) if record.name == project.name][-1:]
    roles, personal = parse_roles(config[DataSection]), _personal_findings(seen[-1]) if seen else {}
    opened = list(seen[-1].columns) if seen else []
    names = dict.fromkeys([*opened, *read, *_named(roles), *config[PersonalSection].drop, *personal])
    columns = (
        _with_declarations(_column_use(name, roles, read, personal), config, is_read=name in read)
        for name in names
        # `[personal] drop` may name a kind of data instead of a column.
        if name in opened or name in personal or name not in config[PersonalSection].drop
    )
    return DataUse(
        source=config[DataSection].source,
        columns=tuple(columns),
        n_read=len(read),
        checked_at=seen[-1].at if seen else "",
        retention=config[PersonalSection].retention,
        erasures=tuple(load_erasures(project)),
    )


def _with_declarations(column: ColumnUse, config: Config, *, is_read: bool) -> ColumnUse:
    """Add the purpose and legal basis that `[personal]` declares; "*" stands for columns that are read or personal."""
    section, name = config[PersonalSection], column.name
    declared = {*section.hash, *section.keep, *config[DataSection].sensitive_features}
    is_personal = name not in section.drop and (bool(column.personal) or name in declared)
    return replace(
        column,
        declared_purpose=section.purpose.get(name, section.purpose.get("*", "") if is_read or is_personal else ""),
        legal_basis=section.legal_basis.get(name, section.legal_basis.get("*", "") if is_personal else ""),
        is_read=is_read,
        is_personal=is_personal,
    )


def _personal_findings(seen: Assessment) -> dict[str, str]:
    """Return the findings on personal data in each column."""
    found: dict[str, list[str]] = {}
    for finding in seen.findings:
        if finding.code in PERSONAL and (column := finding.column):
            found.setdefault(column, []).append(finding.message)
    return {column: "; ".join(messages) for column, messages in found.items()}


def _named(roles: Roles) -> list[str]:
    single = (roles.target, roles.time, roles.groups, roles.query_id, roles.sample_weight)
    return [name for name in (*single, *roles.slices, *roles.sensitive_features, *roles.known, *roles.ignore) if name]


def _column_use(name: str, roles: Roles, read: Collection[str], personal: dict[str, str]) -> ColumnUse:
    uses = ["read by the model"] if name in read else []
    for role, message in _ROLES.items():
        value = getattr(roles, role)
        if name == value or (isinstance(value, tuple) and name in value):
            uses.append(message)
    if roles.known.get(name) == OUTCOME:
        uses.append("none: it is known only after the outcome")
    elif name in roles.ignore:
        uses.append("none: it is ignored")
    return ColumnUse(name=name, purpose=", ".join(uses) or NOT_READ, personal=personal.get(name, ""))
