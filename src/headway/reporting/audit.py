"""Who did what to which model, when and why: everything that the stores keep of it, newest first, and its export."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal, cast, get_args

import msgspec

from headway.batch.columns import escape_formulas
from headway.core.action import PersonAction
from headway.core.approval import Approval, ApprovalOutcome, SignedApproval
from headway.core.assessment import Assessment
from headway.core.contracts import Signed
from headway.core.erasure import ErasureProof, decode_erasure
from headway.core.errors import HeadwayError, Refused
from headway.core.labeling import Confirmation, Correction, describe_review
from headway.core.quarantine import RowDecision
from headway.core.record import Record, StoredRecordType, read
from headway.core.release import PointerUpdate
from headway.core.threats import AcceptedRisk
from headway.monitoring.approvals import STEPS
from headway.registry.project import Project
from headway.registry.sign import verify
from headway.reporting.text import formatting
from headway.serving.auth.keys import keys_file, read_keys

Kind = Literal[
    "pointer",
    "override",
    "approval",
    "label",
    "quarantine",
    "risk",
    "erasure",
    "assessment",
    "key",
    "person",
    "other",
    "problem",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
KIND_NAMES: Mapping[Kind, str] = {
    "pointer": "Release or pointer",
    "override": "Override of the judge",
    "approval": "Approval",
    "label": "Label",
    "quarantine": "Quarantine",
    "risk": "Accepted risk",
    "erasure": "Erasure",
    "assessment": "Data check",
    "key": "API key",
    "person": "Person of the dashboard",
    "other": "Other",
    "problem": "Could not be read",
}
BATCH = 200
MAX_SCANNED = 20_000
"""Number of entries that one page looks at, if few of them are wanted."""
CSV_COLUMNS = ("at", "model", "kind", "who", "role", "action", "subject", "reason", "outcome")
_CHUNK_BYTES = 32_768
_CLOCKS = timedelta(days=1)
"""How far the clocks of machines that share a store may be apart."""
Dated = tuple[int, "AuditEntry"]
Stream = Callable[[Project, int], Iterator[Dated]]


class AuditEntry(Record, frozen=True, kw_only=True):
    """One thing that was done: when (ISO 8601, UTC), to which model, by whom, why, and what became of it.

    `subject` is what it was done to: a digest, a key, a row; `role` is that of a person in the dashboard.
    """

    at: str
    model: str
    kind: Kind
    who: str
    action: str
    subject: str = ""
    reason: str = ""
    outcome: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries are wanted; an empty field means all. `since` and `until` are days (ISO 8601), both included."""

    model: str = ""
    kind: Kind | Literal[""] = ""
    who: str = ""
    since: str = ""
    until: str = ""

    def matches(self, entry: AuditEntry) -> bool:
        """Return whether an entry is wanted."""
        day = entry.at[:10]
        return (
            self.model in ("", entry.model)
            and self.kind in ("", entry.kind)
            and self.who in ("", entry.who)
            and (not self.since or day >= self.since)
            and (not self.until or day <= self.until)
        )

    def is_past(self, entry: AuditEntry) -> bool:
        """Return whether all entries after this one, which are older, are too old."""
        return bool(self.since) and entry.at[:10] < (datetime.fromisoformat(self.since) - _CLOCKS).date().isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, newest first, and where the next page begins: positions by stream; empty after the last entry."""

    entries: tuple[AuditEntry, ...]
    following: Mapping[str, int]


def audit_page(
    projects: Iterable[Project], wanted: AuditFilter, *, before: Mapping[str, int] | None = None, limit: int = 50
) -> AuditPage:
    """Return a page of the entries that are wanted; it may hold fewer than `limit` though more follow.

    `before` is what the last page gave as `following`. At most MAX_SCANNED entries are looked at.
    """
    positions = dict(before or {})
    entries: list[AuditEntry] = []
    scanned = 0
    for scanned, (stream, position, entry) in enumerate(_merged(projects, wanted, positions), 1):
        if wanted.is_past(entry):
            return AuditPage(entries=tuple(entries), following={})
        positions[stream] = position
        if wanted.matches(entry):
            entries.append(entry)
        if len(entries) == limit or scanned == MAX_SCANNED:
            return AuditPage(entries=tuple(entries), following=positions)
    return AuditPage(entries=tuple(entries), following={})


def audit_entries(projects: Iterable[Project], wanted: AuditFilter) -> Iterator[AuditEntry]:
    """Yield all entries that are wanted, newest first, reading the stores in pages."""
    for _, _, entry in _merged(projects, wanted, {}):
        if wanted.is_past(entry):
            return
        if wanted.matches(entry):
            yield entry


def export_csv(entries: Iterable[AuditEntry]) -> Iterator[bytes]:
    """Yield entries as CSV with a header, in chunks; a quote stands before what a spreadsheet takes for a formula."""
    rows = ([escape_formulas(str(getattr(entry, name))) for name in CSV_COLUMNS] for entry in entries)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(row)
        if text.tell() >= _CHUNK_BYTES:
            yield text.getvalue().encode("utf-8", "replace")
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode("utf-8", "replace")


def export_json_lines(entries: Iterable[AuditEntry]) -> Iterator[bytes]:
    """Yield entries as JSON, one line each, in chunks."""
    rest = iter(entries)
    while lines := b"".join(msgspec.json.encode(entry) + b"\n" for entry in islice(rest, BATCH)):
        yield lines


def _merged(
    projects: Iterable[Project], wanted: AuditFilter, before: Mapping[str, int]
) -> Iterator[tuple[str, int, AuditEntry]]:
    """Yield the entries of all streams that can hold wanted ones, newest first, with their stream and position.

    A key that was made or revoked in the dashboard is an entry of the person who did it, not another of the key file.
    """
    projects = list(projects)
    streams = [
        _named(project, name, stream, before.get(f"{project.name}/{name}", 0))
        for project in projects
        if wanted.model in ("", project.name)
        for name, (stream, kinds) in _STREAMS.items()
        if wanted.kind in ("", *kinds, "problem")
    ]
    by_person = {change for project in projects for change in _changes_nearby(project, before)}
    for stream, position, entry in heapq.merge(*streams, key=lambda found: found[2].at, reverse=True):
        change = entry.model, entry.action, entry.subject
        if entry.kind == "key" and entry.who:
            by_person.add(change)
        elif entry.kind == "key" and change in by_person:
            continue
        yield stream, position, entry


def _changes_nearby(project: Project, before: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    """Yield model, action and subject of what people did round the end of the page before; nothing on the first."""
    if position := before.get(f"{project.name}/actions", 0):
        for saved in project.recent(PersonAction, limit=BATCH, before=position + BATCH):
            yield project.name, saved.record.action, saved.record.subject


def _named(project: Project, name: str, stream: Stream, before: int) -> Iterator[tuple[str, int, AuditEntry]]:
    """Yield the entries of a stream; what cannot be read is the last entry, so that a gap is seen."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    position = before
    try:
        for position, entry in stream(project, before):
            at = entry.at
            yield f"{project.name}/{name}", position, entry
    except (HeadwayError, msgspec.MsgspecError) as error:
        what = error.what if isinstance(error, HeadwayError) else str(error)
        unread = AuditEntry(
            at=at, model=project.name, kind="problem", who="", action=f"{name}: earlier entries unread", outcome=what
        )
        yield f"{project.name}/{name}", position, unread


def _utc(at: str) -> str:
    """Return a time in UTC, in one form, so that times can be compared as text."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).isoformat(timespec="seconds")
    except ValueError:
        return at


def _pages(project: Project, kind: type[StoredRecordType], before: int) -> Iterator[tuple[int, StoredRecordType]]:
    """Yield the records of a class, newest first, read in pages."""
    while page := project.recent(kind, limit=BATCH, before=before):
        yield from ((saved.position, saved.record) for saved in page)
        before = page[-1].position


def _pointers(project: Project, before: int) -> Iterator[Dated]:
    while page := project.registry.recent(project.name, limit=BATCH, before=before):
        yield from ((entry.index, _pointer_entry(entry.move)) for entry in page)
        before = page[-1].index


def _pointer_entry(update: PointerUpdate) -> AuditEntry:
    share = f", {update.assignment.share:.0%} of the keys" if update.assignment else ""
    return AuditEntry(
        at=_utc(update.at),
        model=update.name,
        kind="override" if update.answer == "override" else "pointer",
        who=update.who,
        action=f"{update.pointer} was set{share}" if update.release else f"{update.pointer} was withdrawn",
        subject=update.release,
        reason=update.why,
        outcome=f"verdict: {update.answer}" if update.answer else "",
    )


def _actions(project: Project, before: int) -> Iterator[Dated]:
    for position, action in _pages(project, PersonAction, before):
        first, _, last = action.action.partition(".")
        kind = _OF_ACTIONS.get(last) or _OF_ACTIONS.get(first) or "other"
        yield (
            position,
            AuditEntry(
                at=_utc(action.at),
                model=project.name,
                kind=kind,
                who=action.who,
                role=action.role,
                action=action.action,
                subject=action.subject,
                reason=action.reason,
                outcome=action.outcome,
            ),
        )


def _approvals(project: Project, before: int) -> Iterator[Dated]:
    """Yield signed decisions, each verified by the keys of operators."""
    for position, saved in _pages(project, SignedApproval, before):
        content, operators = saved.content.encode(), project.registry.operators()
        found, kind, outcome = read(Approval, content), "approval", "signed by an operator's key"
        try:
            verify(Signed(content=content, signature=saved.signature.encode()), operators, subject="an approval")
        except Refused:
            kind, outcome = "problem", "no listed operator signed it, so it does not count"
        word = "approved, as an override" if found.override else "approved" if found.approved else "rejected"
        yield (
            position,
            AuditEntry(
                at=_utc(found.at),
                model=project.name,
                kind=cast("Kind", kind),
                who=found.who,
                action=f"{STEPS[found.step]} was {word}",
                subject=found.subject,
                reason=found.why,
                outcome=outcome,
            ),
        )


def _completions(project: Project, before: int) -> Iterator[Dated]:
    for position, found in _pages(project, ApprovalOutcome, before):
        yield (
            position,
            AuditEntry(
                at=_utc(found.at),
                model=project.name,
                kind="approval",
                who="publisher",
                action="an approval was completed" if found.completed else "an approval was not completed",
                subject=found.approval,
                outcome=found.message,
            ),
        )


def _reviews(kind: type[Correction] | type[Confirmation]) -> Stream:
    def read(project: Project, before: int) -> Iterator[Dated]:
        for position, review in _pages(project, kind, before):
            code = "label.corrected" if isinstance(review, Correction) else "label.confirmed"
            yield (
                position,
                AuditEntry(
                    at=_utc(review.at),
                    model=project.name,
                    kind="label",
                    who=review.who,
                    action=code,
                    subject=f"row {review.row_number:,}",
                    reason=review.why,
                    outcome=describe_review(review),
                ),
            )

    return read


def _decisions(project: Project, before: int) -> Iterator[Dated]:
    for position, decided in _pages(project, RowDecision, before):
        numbers = ", ".join(f"{number:,}" for number in decided.numbers[:5])
        more = ", ..." if len(decided.numbers) > 5 else ""
        yield (
            position,
            AuditEntry(
                at=_utc(decided.at),
                model=project.name,
                kind="quarantine",
                who=decided.who,
                action=f"quarantine.{decided.decision}",
                subject=decided.file,
                reason=decided.why,
                outcome=f"{len(decided.numbers):,} rows: {numbers}{more}",
            ),
        )


def _risks(project: Project, before: int) -> Iterator[Dated]:
    for position, risk in _pages(project, AcceptedRisk, before):
        yield (
            position,
            AuditEntry(
                at=_utc(risk.at),
                model=project.name,
                kind="risk",
                who=risk.who,
                action="risk.withdrawn" if risk.is_withdrawn else "risk.accepted",
                subject=risk.requirement,
                reason=risk.reason,
                outcome="" if risk.is_withdrawn else f"until {risk.until}",
            ),
        )


def _assessments(project: Project, before: int) -> Iterator[Dated]:
    for position, found in _pages(project, Assessment, before):
        counts = ", ".join(f"{found.count(name):,} {name}" for name in ("stop", "undecided", "warn", "note"))
        yield (
            position,
            AuditEntry(
                at=_utc(found.at),
                model=project.name,
                kind="assessment",
                who=found.by,
                action="data were checked",
                subject=found.source,
                outcome=f"assessment {found.number}, {found.n_rows:,} rows: {counts}",
            ),
        )


def _erasures(project: Project, before: int) -> Iterator[Dated]:
    for position, proof in _pages(project, ErasureProof, before):
        found = decode_erasure(proof.content.encode())
        yield (
            position,
            AuditEntry(
                at=_utc(found.done_at),
                model=project.name,
                kind="erasure",
                who=found.who,
                action=f"rows older than {found.older_than} were erased" if found.older_than else "a key was erased",
                subject=formatting.short_digest(found.subject),
                reason=found.why,
                outcome=f"{found.rows:,} rows" + ("" if found.is_complete else ", and parts remain"),
            ),
        )


def _keys(project: Project, before: int) -> Iterator[Dated]:
    """Yield when API keys were made and revoked; the file does not say by whom."""
    changes = sorted(
        (_utc(at), name, action, f"in the key file; it may {', '.join(key.scopes)}")
        for name, key in read_keys(keys_file(project.config)).items()
        for at, action in ((key.made, "key.created"), (key.revoked, "key.revoked"))
        if at
    )
    for position in range(min(before - 1, len(changes)) if before else len(changes), 0, -1):
        at, name, action, outcome = changes[position - 1]
        yield (
            position,
            AuditEntry(at=at, model=project.name, kind="key", who="", action=action, subject=name, outcome=outcome),
        )


_OF_ACTIONS: Mapping[str, Kind] = {
    **dict.fromkeys(("approve", "reject", "override"), "approval"),
    **dict.fromkeys(("rollback", "forward", "rollout"), "pointer"),
    "label": "label",
    "quarantine": "quarantine",
    "key": "key",
    "person": "person",
}
"""Kind of an action in the dashboard, by the first or the last word of its code."""
_STREAMS: Mapping[str, tuple[Stream, Sequence[Kind]]] = {
    "pointers": (_pointers, ("pointer", "override")),
    "actions": (_actions, (*_OF_ACTIONS.values(), "other")),
    "approvals": (_approvals, ("approval",)),
    "completions": (_completions, ("approval",)),
    "corrections": (_reviews(Correction), ("label",)),
    "confirmations": (_reviews(Confirmation), ("label",)),
    "decisions": (_decisions, ("quarantine",)),
    "risks": (_risks, ("risk",)),
    "assessments": (_assessments, ("assessment",)),
    "erasures": (_erasures, ("erasure",)),
    "keys": (_keys, ("key",)),
}
