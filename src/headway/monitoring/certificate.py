"""Audit the certificate of the live release by labels of drawn answers, and withdraw it where they break it.

Only answers that the server drew for the audit count: people label what is easy or what went wrong, so other labels
say nothing about the share. A drawn answer without a label is neither right nor wrong; if many stay without one, the
certificate is not known to hold. Answers of the remote stage are drawn and judged in the same way, by themselves: no
held-out rows certify them, so they count only once labels show that they keep the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.answering import confidences
from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Measurement
from headway.core.monitoring import Ticket
from headway.core.record import read
from headway.core.release import Release
from headway.core.selective import (
    AnswerPlan,
    AuditStatus,
    CertificateAudit,
    CertificateWithdrawal,
    RemoteAudit,
    SelectiveCertificate,
)
from headway.data.settings.data import DataSection
from headway.evaluation.selective import audit_risk, audited_rows_needed, is_broken
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.prediction_log import LABEL_SCHEMA, SegmentReader, answered_requests
from headway.monitoring.scored_rows import day_numbers, parse_delay
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.key_assignment import key_hashes
from headway.registry.project import LIVE_POINTER, Project
from headway.registry.withdrawals import remote_audit, withdrawn_classes
from headway.storage import traffic
from headway.storage.addresses import log_root

DEFAULT_DELAY = timedelta(days=7)
"""Time that a label of a drawn answer may take, unless `[data] label_delay` says it."""
MAX_OVERDUE = 0.5
"""Share of the drawn answers without a label in time, above which an audit says nothing."""
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditedAnswers:
    """Drawn answers of a release in the order of time, each of shape (n,).

    `errors` is 1 for a wrong answer, 0 for a right one, and NaN without a label. `days` counts from 1970.
    """

    classes: tuple[str, ...]
    answer: Ints
    errors: Floats
    days: Ints
    overdue: Bools

    def subset(self, chosen: Bools) -> AuditedAnswers:
        """Return some of the answers, bool (n,)."""
        return AuditedAnswers(
            classes=self.classes,
            answer=self.answer[chosen],
            errors=self.errors[chosen],
            days=self.days[chosen],
            overdue=self.overdue[chosen],
        )


def audit_answers(project: Project, *, now: datetime | None = None) -> CertificateAudit | None:
    """Audit the certificate of the live release and withdraw it where it is broken; None if it has no certificate.

    An audit that says the same as the one before is not saved again. Over the whole life of a release, answers that
    keep the limit are withdrawn with probability at most 1 - `[answer] level`: half of it for the certificate of all
    answers, and half for those of the classes together.
    """
    bundle = project.registry.resolve(f"{project.name}@{LIVE_POINTER}")
    plan = bundle.release.answers
    if plan is None:
        return None
    at = now or datetime.now(UTC)
    audited = read_audited(project, bundle.release, bundle.digest, now=at)
    before = withdrawn_classes(project.state, plan, name=project.name, digest=bundle.digest)
    found = judge_audit(
        plan,
        audited,
        name=project.name,
        release=bundle.digest,
        level=project.config[AnswerSection].level,
        withdrawn=before,
        at=at,
    )
    for withdrawal in _withdrawals(plan, found, before):
        project.save(withdrawal)
    last = project.latest(CertificateAudit)
    before_remote = last.remote if last and last.release == bundle.digest else None
    found = replace(found, remote=audit_remote(project, bundle.release, bundle.digest, last=before_remote, now=at))
    if found.remote is not None:
        found = replace(found, message=f"{found.message}; {_describe_remote(found.remote, found.limit)}")
    if last is None or replace(last, at=found.at) != found:
        project.save(found)
    return found


def audit_remote(
    project: Project, release: Release, digest: str, *, last: RemoteAudit | None = None, now: datetime
) -> RemoteAudit | None:
    """Compare drawn answers of the remote stage with the limit of a release; None without a stage to audit.

    `last` is the audit before of this release. Answers of another stage than that of the settings do not count.
    """
    plan, section = release.answers, project.config[AnswerSection]
    stage = section.remote.identity
    if plan is None or not stage or traffic.REMOTE not in plan.stages:
        return None
    since_us = 0
    if last is not None:
        since_us = last.since_us if last.stage == stage else int(now.timestamp() * 1e6)
    audited = read_audited(project, release, digest, now=now, by=traffic.REMOTE, since_us=since_us)
    by_day = plan.certificate.risk.n_groups > 0
    today = int(np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "D").astype(np.int64))
    counted = audited.subset(_complete_days(audited, today)) if by_day else audited
    n_labeled, n_overdue = int((~np.isnan(counted.errors)).sum()), int(audited.overdue.sum())
    alpha, limit = 1 - section.level, plan.certificate.limit
    risk = _risk(counted, by_day, alpha)
    covers: tuple[str, ...] = ()
    if not _is_unknown(n_labeled, n_overdue):
        classes = [name for name in release.class_names if name != plan.reject]
        if section.per_class:
            shares = {
                name: _risk(counted.subset(counted.answer == index), by_day, alpha / len(classes))
                for index, name in enumerate(release.class_names)
                if name in classes
            }
            covers = tuple(name for name, share in shares.items() if share.high <= limit)
        elif risk.high <= limit:
            covers = tuple(classes)
    return RemoteAudit(
        stage=stage,
        since_us=since_us,
        n_drawn=len(audited.errors),
        n_labeled=n_labeled,
        n_overdue=n_overdue,
        risk=risk if n_labeled else None,
        covers=covers,
    )


def covered_remote_labels(project: Project, release: Release, digest: str) -> tuple[float, ...]:
    """Return the labels of the remote stage that count as answers; all if it audits its own."""
    stage = project.config[AnswerSection].remote.identity
    audit = remote_audit(project.state, name=project.name, digest=digest)
    covers = release.class_names if not stage else audit.covers if audit and audit.stage == stage else ()
    return tuple(float(index) for index, name in enumerate(release.class_names) if name in covers)


def propose_after_audit(project: Project, audit: CertificateAudit) -> Ticket | None:
    """Return a ticket for a release whose certificate is withdrawn, None if one is open already."""
    content = project.state.latest("ticket", name=project.name)
    ticket = read(Ticket, content) if content else None
    if not audit.withdrawn or (ticket and ticket.is_open(audit.release)):
        return None
    return Ticket(
        name=audit.name,
        release=audit.release,
        reasons=("certificate",),
        why=audit.message,
        acts=project.config[RetrainSection].mode == "auto",
        at=audit.at,
        priced_until=audit.at,
        opened_at=audit.at,
    )


def read_audited(
    project: Project, release: Release, digest: str, *, now: datetime, by: str = traffic.MODEL, since_us: int = 0
) -> AuditedAnswers:
    """Return the answers of a release, or of the remote stage behind it, that were drawn for the audit.

    They are compared with the labels of people. The later label of a key wins, so that corrections count. Labels of the
    remote stage are its answers; of those to a key, the first counts.
    """
    root, classes = log_root(project.config, project.name), release.class_names
    rows = answered_requests(root, project.name, digest)
    if rows.is_empty() or "audit" not in rows.columns:
        empty = np.zeros(0, dtype=np.int64)
        return AuditedAnswers(
            classes=classes, answer=empty, errors=np.zeros(0), days=empty, overdue=np.zeros(0, dtype=np.bool_)
        )
    is_counted = (pl.col("audit") == 1) & (pl.col("answered_by") == traffic.ANSWERED_BY.index(by))
    first = rows.unique("key", keep="first", maintain_order=True).filter(is_counted & (pl.col("at_us") >= since_us))
    if by == traffic.REMOTE:
        first = first.join(_answers_of_remote(project), on="key", how="inner", maintain_order="left")
    hashes = key_hashes(first["key"], f"audit order {digest}")
    ordered = first.with_columns(order=pl.Series(hashes), day=pl.col("at_us") // _DAY_US).sort("day", "order")
    drawn = ordered.join(labels_of_people(project), on="key", how="left", maintain_order="left")
    outputs = sorted((name for name in drawn.columns if name.startswith("out.")), key=lambda name: int(name[4:]))
    probabilities = drawn.select(outputs).cast(pl.Float64).to_numpy()
    answer, _ = confidences("probability", probabilities, threshold=release.threshold)
    if by == traffic.REMOTE:
        answer = drawn["remote"].cast(pl.Int64).to_numpy()
    labels = drawn["label"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    times = drawn["at_us"].to_numpy().astype("datetime64[us]")
    waiting = np.isnan(labels)
    until = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
    return AuditedAnswers(
        classes=classes,
        answer=answer,
        errors=np.where(waiting, np.nan, labels != answer),
        days=day_numbers(times),
        overdue=waiting & (times + np.timedelta64(_delay(project), "us") < until),
    )


def judge_audit(
    plan: AnswerPlan,
    audited: AuditedAnswers,
    *,
    name: str,
    release: str,
    level: float,
    withdrawn: frozenset[str] = frozenset(),
    at: datetime,
) -> CertificateAudit:
    """Compare audited answers with the certificates of a plan, and add what they break to the withdrawn classes.

    A certificate that is of a device's answers as well is not broken by the model's own, and not shown to hold.
    """
    limit, by_day = plan.certificate.limit, plan.certificate.risk.n_groups > 0
    today = int(np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "D").astype(np.int64))
    counted = audited.subset(_complete_days(audited, today)) if by_day else audited
    classes = dict(_certified_classes(plan))
    alpha_all, alpha_class = _error_rates(level, len(classes))
    risk = _risk(counted, by_day, alpha_all)
    found = set(withdrawn)
    if not plan.forwarded_by and _is_broken(counted, by_day, limit=limit, alpha=alpha_all):
        found |= set(plan.thresholds)
    by_class = {}
    for label, certificate in classes.items():
        part = counted.subset(counted.answer == audited.classes.index(label))
        if np.isnan(part.errors).all():
            continue
        by_class[label] = replace(_risk(part, by_day, alpha_class), slice=label)
        if _is_broken(part, by_day, limit=certificate.limit, alpha=alpha_class):
            found.add(label)
    n_labeled, n_overdue = int((~np.isnan(counted.errors)).sum()), int(audited.overdue.sum())
    unknown = bool(plan.forwarded_by) or _is_unknown(n_labeled, n_overdue)
    status: AuditStatus = "broken" if found else "unknown" if unknown else "holds"
    audit = CertificateAudit(
        name=name,
        release=release,
        status=status,
        message="",
        limit=limit,
        n_drawn=len(audited.errors),
        n_labeled=n_labeled,
        n_overdue=n_overdue,
        rows_to_detect=audited_rows_needed(limit, min(2 * limit, (1 + limit) / 2), alpha=alpha_all) or 0,
        risk=risk if n_labeled else None,
        classes=by_class,
        withdrawn=tuple(sorted(found)),
        at=at.astimezone(UTC).isoformat(timespec="seconds"),
    )
    return replace(audit, message=describe_audit(audit, is_all=found >= set(plan.thresholds)))


def describe_audit(audit: CertificateAudit, *, is_all: bool) -> str:
    """Return what an audit shows, in a sentence or two."""
    risk = audit.risk
    checked = f"{audit.n_labeled:,} of {audit.n_drawn:,} answers drawn for the audit were checked"
    if risk is not None:
        share = f"{risk.value:.1%} of them were wrong (between {risk.low:.1%} and {risk.high:.1%})"
        checked = f"{checked}, and {share}"
    allowed = f"at most {audit.limit:.1%} may be"
    late = f"; {audit.n_overdue:,} drawn answers still have no label" if audit.n_overdue else ""
    if is_all and audit.withdrawn:
        return (
            f"the certificate is broken, so the model answers nothing until a new release: {checked}; {allowed}{late}"
        )
    if audit.withdrawn:
        named = ", ".join(audit.withdrawn)
        return f"the model no longer answers {named}, where too many answers were wrong: {checked}{late}"
    if audit.status == "unknown":
        return f"whether the certificate still holds is not known: {checked}{late}"
    return f"the certificate is not shown to be broken: {checked}; {allowed}{late}"


def _is_unknown(n_labeled: int, n_overdue: int) -> bool:
    """Return True if too many drawn answers have no label for an audit to say something."""
    return not n_labeled or n_overdue > MAX_OVERDUE * (n_labeled + n_overdue)


def _describe_remote(audit: RemoteAudit, limit: float) -> str:
    """Return what an audit of the remote stage shows, in a clause."""
    checked = f"of the remote stage's answers, {audit.n_labeled:,} of {audit.n_drawn:,} drawn ones were checked"
    if audit.risk is not None:
        checked += f", and {audit.risk.value:.1%} were wrong (between {audit.risk.low:.1%} and {audit.risk.high:.1%})"
    if audit.covers:
        return f"{checked}: those of {len(audit.covers):,} classes count"
    return f"{checked}: none counts until at most {limit:.1%} are shown to be"


def _withdrawals(plan: AnswerPlan, audit: CertificateAudit, before: frozenset[str]) -> Iterator[CertificateWithdrawal]:
    """Yield a withdrawal for what an audit broke first."""
    new = sorted(set(audit.withdrawn) - before)
    if not new:
        return
    is_all = set(audit.withdrawn) >= set(plan.thresholds)
    named = audit.classes[new[0]] if len(new) == 1 and not is_all else audit.risk
    assert named is not None
    yield CertificateWithdrawal(
        name=audit.name,
        release=audit.release,
        classes=() if is_all else tuple(new),
        risk=named,
        limit=audit.limit,
        why=audit.message,
        at=audit.at,
    )


def _certified_classes(plan: AnswerPlan) -> Iterator[tuple[str, SelectiveCertificate]]:
    """Yield the classes that are answered by a certificate of their own."""
    for label, certificate in plan.classes.items():
        if label in plan.thresholds and certificate.is_certified:
            yield label, certificate


def _error_rates(level: float, n_classes: int) -> tuple[float, float]:
    """Return the rates of false withdrawals of all answers, and of those of each class."""
    alpha = 1 - level
    return (alpha / 2, alpha / 2 / n_classes) if n_classes else (alpha, alpha)


def _risk(audited: AuditedAnswers, by_day: bool, alpha: float) -> Measurement:
    return audit_risk(audited.errors, groups=audited.days if by_day else None, alpha=alpha)


def _is_broken(audited: AuditedAnswers, by_day: bool, *, limit: float, alpha: float) -> bool:
    return is_broken(audited.errors, groups=audited.days if by_day else None, limit=limit, alpha=alpha)


def _complete_days(audited: AuditedAnswers, today: int) -> Bools:
    """Return the answers of days that are over and have all labels, or have waited for them long enough."""
    waiting = np.isnan(audited.errors) & ~audited.overdue
    unfinished = np.unique(audited.days[waiting])
    return (audited.days < today) & ~np.isin(audited.days, unfinished)


def _delay(project: Project) -> timedelta:
    """Return how long a label may take."""
    return parse_delay(project.config[DataSection].label_delay) or DEFAULT_DELAY


def _answers_of_remote(project: Project) -> pl.DataFrame:
    """Return the first answer of the remote stage to each key, as `remote`."""
    answers = _labels(project).filter(pl.col("who") == traffic.REMOTE).sort("at_us", maintain_order=True)
    return answers.unique("key", keep="first", maintain_order=True).select("key", remote="label")


def _labels(project: Project) -> pl.DataFrame:
    """Return all labels of a project, of people and of the remote stage."""
    tables = SegmentReader(
        traffic.labels_folder(log_root(project.config, project.name), project.name), [*LABEL_SCHEMA]
    ).read()
    return pl.concat(tables) if tables else pl.DataFrame(schema=LABEL_SCHEMA)


def labels_of_people(project: Project) -> pl.DataFrame:
    """Return the last label that a person gave to each key, and when."""
    labels = _labels(project)
    people = labels.filter(pl.col("who") != traffic.REMOTE).sort("at_us", maintain_order=True)
    return people.unique("key", keep="last", maintain_order=True).select("key", "label", labeled_us="at_us")
