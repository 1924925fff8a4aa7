"""Forget the rows of one key, or those older than a time, wherever the store has them, and prove it.

Each file is replaced as a whole, after it was written down; a process that is killed leaves every other row where it
was, and the same order given again finishes and counts all. Servers may run: what they log meanwhile is not touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from msgspec.structs import replace

from headway.core.erasure import Erased, Erasure
from headway.core.errors import ConfigError, DataError
from headway.data.personal.key import HashKey, load_hash_key
from headway.data.personal.retention import parse_duration
from headway.monitoring.erasure import journal as journals
from headway.monitoring.erasure import places, proof
from headway.monitoring.erasure.journal import Head, Journal
from headway.monitoring.erasure.places import Wish
from headway.monitoring.erasure.scan import scan
from headway.registry.project import Project
from headway.registry.sign import load_publisher
from headway.storage import atomic

_DOMAIN = "headway forget\0"
_SLACK_S = 1.0
COPIES = (
    "what lies elsewhere is not reached: backups, files that headway predict wrote, blocks that the disk has freed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be forgotten, and who asks for it: a `key` as callers gave it, or what is `older` (90d, 12h)."""

    key: str = ""
    older: str = ""
    who: str
    why: str = ""


def forget(project: Project, order: Order, *, wait: Callable[[float], object] = time.sleep) -> Erasure:
    """Erase, look at every byte of the store, and keep a signed record of both.

    A key is looked for as it is and as the hash that `[personal] hash` leaves of it. It waits until what servers have
    in memory is on disk. Raises ConfigError without a publisher key, and StoreError while another erasure is not done.
    """
    _expect_one(order)
    publisher, secret = load_publisher(project.register.publisher_key), load_hash_key(project.config)
    wish, head = _wish(order, secret)
    with journals.opened(project.config.state, head) as journal:
        if any((each.begun_at, each.subject) == _mark(journal.head) for each in proof.proofs(project)):
            journal.begin(head)
        _erase(project, wish, journal)
        if wish.keys:
            wait(2 * project.config.serve.log_flush_s + _SLACK_S)
            _erase(project, wish, journal)
        asked = replace(journal.head, older_than=head.older_than)
        erasure = _told(project, order, asked, _erased(project, journal, secret))
        erasure = replace(erasure, stays=scan(project.config.state, wish.keys) if wish.keys else ())
        proof.keep(project, erasure, publisher)
        journal.end()
    return erasure


def subject_of(key: str, secret: HashKey) -> str:
    """What a proof calls a key: a keyed hash, and not the one that hashed columns hold."""
    return secret.hash(_DOMAIN + key)


def _expect_one(order: Order) -> None:
    if bool(order.key) == bool(order.older):
        raise ConfigError("one of a key and an age says what is forgotten", hint="headway erase KEY, or --older 90d")
    if order.key and not order.key.strip():
        raise DataError("a key of spaces belongs to nobody", hint="headway erase KEY")


def _wish(order: Order, secret: HashKey) -> tuple[Wish, Head]:
    now = datetime.now(UTC)
    if order.key:
        head = Head(subject=subject_of(order.key, secret), older_than="", begun_at=now.isoformat())
        return Wish(keys=(order.key, secret.hash(order.key))), head
    until = _before(now, parse_duration(order.older, where="--older"))
    head = Head(subject="", older_than=until.isoformat(timespec="seconds"), begun_at=now.isoformat())
    return Wish(before_ns=int(until.timestamp()) * 1_000_000_000), head


def _before(now: datetime, length: timedelta) -> datetime:
    try:
        return now - length
    except OverflowError as error:
        raise ConfigError("there was no such time", where="--older", hint="90d") from error


def _mark(head: Head) -> tuple[str, str]:
    return head.begun_at, head.subject


def _erase(project: Project, wish: Wish, journal: Journal) -> None:
    """Write down and touch each file that holds rows to go, and sweep what killed processes left half-written."""
    state = project.config.state
    for folder in (*(state / "log").glob("*"), state / "labels"):
        atomic.sweep(folder)
    for touch in places.touches(state, wish):
        journal.note(touch)
        places.erase(state, touch, wish)


def _erased(project: Project, journal: Journal, secret: HashKey) -> tuple[Erased, ...]:
    """What went, place by place: files are told by keyed hashes, for a file of a few rows could be guessed."""
    ordered = sorted(journal.touched.values(), key=lambda each: (each.place, each.path))
    found = []
    for place, group in groupby(ordered, key=lambda each: each.place):
        files = list(group)
        was = "".join(f"{each.path} {each.before}\n" for each in files)
        now = "".join(f"{each.path} {places.digest(project.config.state / each.path)}\n" for each in files)
        rows = sum(each.rows for each in files)
        found.append(Erased(place=place, rows=rows, files=len(files), before=secret.hash(was), after=secret.hash(now)))
    return tuple(found)


def _told(project: Project, order: Order, head: Head, erased: tuple[Erased, ...]) -> Erasure:
    number, before = proof.link(project)
    return Erasure(
        name=project.name,
        number=number,
        before=before,
        subject=head.subject,
        older_than=head.older_than,
        who=order.who,
        why=order.why,
        begun_at=head.begun_at,
        done_at=datetime.now(UTC).isoformat(),
        erased=erased,
        message=(*_of_models(project), *COPIES) if order.key else COPIES,
    )


def _of_models(project: Project) -> tuple[str, ...]:
    """What a key leaves where no program can take it out."""
    config, made = project.config, len(list((project.config.state / "releases").glob("*/*/")))
    learned = f"{made:,} signed releases were made before: what a model learned of somebody stays in it until it is"
    source = f"{config.data.source or 'the source'} is not changed: take the rows out there"
    return (f"{learned} trained without their rows (headway retrain)", source) if made else (source,)
