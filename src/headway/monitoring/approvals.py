"""Approvals: what waits for a person's decision, the decision signed with the operator's key, and whether it counts.

A publisher's machine completes them (`monitoring.completion`). It computes itself what is pending, so a decision counts
only while everything that it names is what that machine finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from headway.core.approval import VALID, Approval, ApprovalOutcome, ApprovalStep, SignedApproval
from headway.core.config import Config
from headway.core.contracts import Signed
from headway.core.errors import HeadwayError, Refused, StoreError
from headway.core.evidence import Evidence
from headway.core.record import canonical, digest_of, read, write
from headway.core.release import PointerUpdate, Release
from headway.core.rollout import Rollout
from headway.core.search_result import SearchResult
from headway.core.training import Retraining
from headway.core.variant import Variant
from headway.core.verdict import Answer, Verdict
from headway.data.settings.data import DataSection
from headway.data.settings.policy import PolicySection
from headway.monitoring.rollout import RolloutCheck, latest_rollout
from headway.registry.judge import judge_release
from headway.registry.project import LIVE_POINTER, Project, find_live
from headway.registry.searches import read_search, search_digest
from headway.registry.sign import verify

STEPS: dict[ApprovalStep, str] = {
    "search": "the winner of the last search",
    "retraining": "a retrained model",
    "published": "a published release that was never live",
    "stage": "the next stage of the rollout",
}
FORWARD = ("advance", "promote")
_RECENT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A step that waits for a person, and what a decision on it names.

    `timed` is the evidence of the search on the same variant, where its speed and cost were measured.
    """

    step: ApprovalStep
    subject: str
    title: str
    verdict: Verdict
    answer: Answer
    evidence: Evidence | None
    policy: str
    live: str
    live_update: int
    timed: Evidence | None = None
    canary_update: int = 0
    stage: int = -1
    made_at: str = ""
    note: str = ""

    @property
    def seen(self) -> str:
        """Digest of what a person decides on; the evidence of a stage grows, so only its answer counts."""
        evidence = "" if self.step == "stage" else evidence_digest(self.evidence)
        updates = [self.live_update, self.canary_update, self.stage]
        fixed = [self.step, self.subject, evidence, self.policy, self.live, self.answer, updates]
        return digest_of(canonical(fixed))


class SavedApproval(NamedTuple):
    """An approval with the digest of its signed bytes."""

    digest: str
    approval: Approval


def evidence_digest(evidence: Evidence | None) -> str:
    """Return the digest of evidence; empty if there is none."""
    return digest_of(write(evidence)) if evidence else ""


def policy_digest(config: Config) -> str:
    """Return the digest of the rules of a project, with its contract."""
    file = config.path(config[DataSection].contract) if config[DataSection].contract else None
    contract = file.read_bytes() if file and file.is_file() else b""
    return digest_of(canonical([config[PolicySection], digest_of(contract)]))


def pending_releases(project: Project) -> list[Pending]:
    """Return what could become live by a person's decision, the latest first, each judged by the current rules.

    Raises Refused if the live pointer does not verify.
    """
    live = project.registry.head(f"{project.name}@{LIVE_POINTER}")
    updates = [entry.move for entry in project.registry.recent(project.name, LIVE_POINTER, limit=_RECENT)]
    found = [*_retraining(project, live, updates), *_published(project, live, updates)]
    variants = {(one.verdict.subject, one.made_at) for one in found}
    found += [one for one in _search(project, live, updates) if (one.verdict.subject, one.made_at) not in variants]
    return sorted(found, key=lambda one: one.made_at, reverse=True)


def pending_stage(rollout: Rollout, check: RolloutCheck) -> Pending:
    """Return the next stage of a rollout as a step that waits, by a check of the current one."""
    decision = check.decision
    answer = "pass" if decision.action in FORWARD else decision.verdict.answer
    return Pending(
        step="stage",
        subject=rollout.release,
        title=rollout.current.name,
        verdict=decision.verdict,
        answer="undecided" if answer == "pass" and decision.action not in FORWARD else answer,
        evidence=check.evidence,
        policy=rollout.terms,
        live=rollout.live,
        live_update=check.live.number if check.live else 0,
        canary_update=check.canary.number if check.canary else 0,
        stage=rollout.stage,
        made_at=rollout.stage_at,
    )


def _search(project: Project, live: PointerUpdate | None, updates: Sequence[PointerUpdate]) -> Iterator[Pending]:
    if not project.count(SearchResult):
        return
    digest = search_digest(project)
    search = read_search(project, digest)
    winner, at = search.winner, search.at
    current = find_live(project, winner.variant.digest)
    if live is not None and live.release and (current is None or _was_live(project, winner.variant, updates, since=at)):
        return  # it is this model that is live, or it was live and another followed
    verdict = _judged(project, winner.variant, winner.evidence, winner.verdict)
    timed = search.row(winner.variant.digest)
    yield _pending(
        project,
        "search",
        digest,
        winner.variant,
        verdict=verdict,
        evidence=winner.evidence,
        live=live,
        at=at,
        timed=timed.evidence if timed else None,
    )


def _retraining(project: Project, live: PointerUpdate | None, updates: Sequence[PointerUpdate]) -> Iterator[Pending]:
    """Yield the last retraining, if it was judged against live, was never live and no rollout of it has run."""
    saved = next(iter(project.recent(Retraining, limit=1)), None)
    rollout = latest_rollout(project)
    if saved is None or live is None or saved.record.live != live.release:
        return
    if rollout and saved.record.release and rollout.release == saved.record.release:
        return
    search = saved.record.search_result
    if _was_live(project, search.winner.variant, updates, since=search.at):
        return
    yield _pending(
        project,
        "retraining",
        digest_of(write(search)),
        search.winner.variant,
        verdict=search.winner.verdict,
        evidence=search.winner.evidence,
        live=live,
        at=search.at,
    )


def _published(project: Project, live: PointerUpdate | None, updates: Sequence[PointerUpdate]) -> Iterator[Pending]:
    """Yield the release that was published last, if it was never live and no rollout of it is running."""
    folders = list((project.registry.folder / project.name).glob("[0-9a-f]*"))
    if not folders:
        return
    digest = f"sha256:{max(folders, key=lambda folder: folder.stat().st_mtime_ns).name}"
    rollout = latest_rollout(project)
    if digest in {update.release for update in updates}:
        return
    if rollout and rollout.status == "running" and rollout.release == digest:
        return
    release = open_published(project, digest)
    evidence = release.evidence[-1] if release.evidence else None
    verdict = _judged(project, release.variant, evidence, release.verdict) if evidence else release.verdict
    yield _pending(
        project,
        "published",
        digest,
        release.variant,
        verdict=verdict,
        evidence=evidence,
        live=live,
        at=release.made_at,
        timed=release.evidence[0] if release.evidence else None,
        note=f"Its rollout ended {rollout.status}: {rollout.why}." if rollout and rollout.release == digest else "",
    )


def _was_live(project: Project, variant: Variant, updates: Sequence[PointerUpdate], *, since: str) -> bool:
    """Return whether an update at a time (ISO 8601) or later made a release of this variant live."""
    releases = {update.release for update in updates if update.release and update.at >= since}
    return any(open_published(project, digest).variant.digest == variant.digest for digest in releases)


def open_published(project: Project, digest: str) -> Release:
    """Return a published release, verified."""
    return project.registry.resolve(f"{project.name}@{digest.removeprefix('sha256:')}").release


def _judged(project: Project, variant: Variant, evidence: Evidence, recorded: Verdict) -> Verdict:
    """Judge evidence by the current rules and against what is live now; a verdict that did not pass stays."""
    evaluations = project.state.test_evaluations(project.name, evidence.dataset)
    live = find_live(project, variant.digest)
    now = judge_release(
        evidence, project.config[PolicySection], task=variant.task, live=live, test_evaluations=evaluations
    )
    return recorded if now.answer == "pass" and recorded.answer != "pass" else now


def _pending(
    project: Project,
    step: ApprovalStep,
    subject: str,
    variant: Variant,
    *,
    verdict: Verdict,
    evidence: Evidence | None,
    live: PointerUpdate | None,
    at: str,
    note: str = "",
    timed: Evidence | None = None,
) -> Pending:
    return Pending(
        step=step,
        subject=subject,
        title=variant.name,
        verdict=verdict,
        answer=verdict.answer,
        evidence=evidence,
        policy=policy_digest(project.config),
        live=live.release if live else "",
        live_update=live.number if live else 0,
        made_at=at,
        note=note,
        timed=timed,
    )


def save_decision(
    project: Project, pending: Pending, *, approved: bool, who: str, why: str, now: datetime | None = None
) -> Approval:
    """Sign a person's decision with the operator's key of this machine, and save it.

    Raises ConfigError if this machine has no operator's key that is listed here, HeadwayError without who or why.
    """
    if not (who.strip() and why.strip()):
        raise HeadwayError("a decision names who and why", where=f"who={who!r}, why={why!r}")
    approval = Approval(
        name=project.name,
        step=pending.step,
        approved=approved,
        subject=pending.subject,
        evidence=evidence_digest(pending.evidence),
        policy=pending.policy,
        live=pending.live,
        live_update=pending.live_update,
        canary_update=pending.canary_update,
        stage=pending.stage,
        answer=pending.answer,
        who=who,
        why=why,
        at=(now or datetime.now(UTC)).isoformat(timespec="seconds"),
    )
    signed = project.registry.load_operator().sign(write(approval))
    if pending.evidence:
        project.save(pending.evidence)
    project.save(SignedApproval(content=signed.content.decode(), signature=signed.signature.decode()))
    return approval


def load_decisions(project: Project, *, limit: int = 50) -> list[SavedApproval]:
    """Return the last decisions, newest first; those that no listed operator signed are left out."""
    found, operators = [], project.registry.operators()
    for saved in project.recent(SignedApproval, limit=limit):
        content = saved.record.content.encode()
        try:
            signed = Signed(content=content, signature=saved.record.signature.encode())
            verify(signed, operators, subject="an approval")
            approval = read(Approval, content)
        except (Refused, StoreError):
            continue
        if approval.name == project.name:
            found.append(SavedApproval(digest_of(content), approval))
    return found


def void_reason(
    approval: Approval, pending: Sequence[Pending], decisions: Sequence[SavedApproval], *, now: datetime
) -> str:
    """Return why an approval does not count any more; empty if it does.

    Parameters
    ----------
    pending : sequence of Pending
        What waits now, as this machine finds it.
    decisions : sequence of SavedApproval
        All recent decisions, newest first.
    """
    if approval.is_expired(now):
        return f"it expired: it was given at {approval.at} and counts for {VALID.total_seconds() / 3600:g} hours"
    same = [one.approval for one in decisions if (one.approval.step, one.approval.subject) == _of(approval)]
    if same and same[0] != approval:
        word = "approved" if same[0].approved else "rejected"
        return f"{same[0].who} {word} it afterwards: {same[0].why}"
    found = next((one for one in pending if (one.step, one.subject) == _of(approval)), None)
    if found is None:
        return f"{STEPS[approval.step]} is another one now, or nothing waits any more"
    if (found.live, found.live_update) != (approval.live, approval.live_update):
        return "live has moved since"
    if (found.stage, found.canary_update) != (approval.stage, approval.canary_update):
        return "the rollout has moved since"
    if found.policy != approval.policy:
        return "the policy has changed since"
    if approval.step != "stage" and evidence_digest(found.evidence) != approval.evidence:
        return "the evidence has changed since"
    if found.answer != approval.answer:
        return f"the verdict was {approval.answer} and is {found.answer} now"
    return ""


def _of(approval: Approval) -> tuple[str, str]:
    return approval.step, approval.subject


def outcomes(project: Project) -> dict[str, ApprovalOutcome]:
    """Return what became of the last approvals, by their digests."""
    return {saved.record.approval: saved.record for saved in reversed(project.recent(ApprovalOutcome, limit=_RECENT))}
