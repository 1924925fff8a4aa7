"""Labels: what to label next, second opinions, suspected labels to correct or confirm, and agreement of people."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.core.labeling import Agreement, Confirmation, Correction, LabelRequest, Suspect, Suspects
from headway.core.late import LateModule
from headway.core.record import digest_of, kind_of, read
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.dashboard.app import link
from headway.dashboard.page import Action, BadInput, Call, Page, Redirect, Rendered, Reply, View
from headway.data.settings.data import DataSection
from headway.registry.project import Project
from headway.storage.addresses import open_logs
from headway.storage.traffic import Label, StoredLabel, save_label

if TYPE_CHECKING:
    from headway.dashboard.work import labels as labels_work
    from headway.dashboard.work import suspects as suspects_work
else:  # only the process for heavy work imports them
    labels_work = LateModule("headway.dashboard.work.labels")
    suspects_work = LateModule("headway.dashboard.work.suspects")

NEXT, SECOND = "/models/{model}/labels", "/models/{model}/labels/second"
SUSPECTS, AGREEMENT = "/models/{model}/labels/suspects", "/models/{model}/labels/agreement"
N_REQUESTS, N_SUSPECTS = 100, 10
CLAIM_S = 600.0
"""Time for which a request that one person sees is not given to others."""
EMPTY_S = 20.0
"""Time after which an empty queue is computed again."""

Classes = Sequence[tuple[float, str]]


class LabelQueue:
    """Requests to label of one model, in order; people who label at the same time get different ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._computing = threading.Lock()
        self._requests: dict[str, LabelRequest] = {}
        self._done: set[str] = set()
        self._claims: dict[str, tuple[str, float]] = {}
        self._skipped: set[tuple[str, str]] = set()
        self._computed_s: float | None = None
        self.classes: Classes = ()
        self.at = ""
        self.problem: HeadwayError | None = None

    def fill(self, compute: Callable[[], tuple[Classes, list[LabelRequest]]], *, again: bool = False) -> None:
        """Compute the queue if it never was, if it is empty, or if a person asks for it."""
        with self._computing:
            if not again and (self._open() or not self._is_old()):
                return
            try:
                self.classes, requests = compute()
                self.problem = None
            except HeadwayError as error:
                self.problem, requests = error, []
            with self._lock:
                self._requests = {request.key: request for request in requests}
                self._done.clear()
                self._skipped.clear()
                self._claims = {key: claim for key, claim in self._claims.items() if key in self._requests}
                self._computed_s = time.monotonic()
                self.at = datetime.now(UTC).isoformat(timespec="seconds")

    def _open(self) -> bool:
        return any(key not in self._done for key in self._requests)

    def _is_old(self) -> bool:
        return self._computed_s is None or bool(self._done) or time.monotonic() - self._computed_s > EMPTY_S

    def take(self, who: str) -> LabelRequest | None:
        """Return the request that a person has in front of them, else the first that is free and they did not skip."""
        now = time.monotonic()
        with self._lock:
            held = [key for key, (holder, until) in self._claims.items() if holder == who and until > now]
            for key in (*held, *self._requests):
                holder, until = self._claims.get(key, (who, 0.0))
                if key in self._done or (who, key) in self._skipped or (holder != who and until > now):
                    continue
                self._claims[key] = who, now + CLAIM_S
                return self._requests[key]
        return None

    def find(self, key: str) -> LabelRequest | None:
        """Return the request of a key, None if the queue does not have it."""
        return self._requests.get(key)

    def finish(self, key: str) -> None:
        """Take a request out of the queue."""
        with self._lock:
            self._done.add(key)
            self._claims.pop(key, None)

    def skip(self, who: str, key: str) -> None:
        """Show a request no more to this person, and let others have it."""
        with self._lock:
            self._skipped.add((who, key))
            self._claims.pop(key, None)

    def n_left(self) -> int:
        """Return how many requests wait for a label."""
        return sum(key not in self._done for key in self._requests)


def _queue(call: Call, path: str, *, again: bool = False) -> LabelQueue:
    """Return the queue of a path; second opinions have one for each person."""
    project, user = call.project, call.session.user
    config, of = project.config, user if path == SECOND else ""
    queue = call.dashboard.cache.get((path, project.name, of), LabelQueue)
    if path == SECOND:
        queue.fill(
            lambda: call.dashboard.workers.run(labels_work.next_second_opinions, config, user, N_REQUESTS), again=again
        )
    else:
        queue.fill(lambda: call.dashboard.workers.run(labels_work.next_requests, config, N_REQUESTS), again=again)
    return queue


def label_keys(names: Sequence[str]) -> list[str]:
    """Return the key of the keyboard for each class: its own digit if every class is one, else its place from 1 on.

    >>> label_keys(["0", "1"]), label_keys(["late", "on time"])
    (['0', '1'], ['1', '2'])
    """
    if all(len(name) == 1 and name in "0123456789" for name in names):
        return list(names)
    return [str(number) if number < 10 else "" for number in range(1, len(names) + 1)]


def _next(call: Call) -> Reply:
    return _request(call, NEXT)


def _second(call: Call) -> Reply:
    return _request(call, SECOND)


def _request(call: Call, path: str) -> Reply:
    queue = _queue(call, path)
    request = queue.find(call.query.get("key", "")) or queue.take(call.session.user)
    keys = label_keys([name for _, name in queue.classes])
    values = {"request": request, "queue": queue, "keys": keys, "path": path, "is_second": path == SECOND}
    target = call.project.config[DataSection].target
    return Rendered(template="labels.html", values={**values, "asked": _time_of(request), "target": target})


def _time_of(request: LabelRequest | None) -> str:
    return datetime.fromtimestamp(request.at_us / 1e6, UTC).isoformat(timespec="seconds") if request else ""


def _give(call: Call) -> Reply:
    path = SECOND if call.form.get("list") == "second" else NEXT
    key, user = call.text("key", what="the key of the request", at_most=4096), call.session.user
    queue = _queue(call, path)
    if call.form.get("label") == "skip":
        queue.skip(user, key)
        return Redirect(path=link(path, model=call.project.name))
    named = {f"{value:g}": (value, name) for value, name in queue.classes}
    if call.form.get("label", "") not in named:
        raise BadInput("the label is none of the classes of the model", hint="open the page again")
    value, name = named[call.form["label"]]
    label, config = Label(key, value), call.project.config
    if config[StoreSection].logs:
        stored = call.dashboard.workers.run(save_one, config, label, user, is_second=path == SECOND)
    else:
        stored = save_one(config, label, user, is_second=path == SECOND)
    queue.finish(key)
    if stored is not None and stored.who != user:
        message = f"Not saved: {stored.who} labeled {key} as {_name(queue.classes, stored.label)} before you."
        return Redirect(path=link(path, model=call.project.name), message=message)
    if stored is None:
        call.save_action("label.given", subject=key, outcome=f"labeled {name}")
    return Redirect(path=link(path, model=call.project.name), message=f"{key} is labeled {name}.")


def save_one(config: Config, label: Label, who: str, *, is_second: bool) -> StoredLabel | None:
    """Save a label, and ship it if machines share their labels; see `save_label`."""
    logs, name = open_logs(config), config[ProjectSection].name
    root = logs.refresh(name) if logs else None
    found = save_label(config.state, name, label, who=who, is_second=is_second, root=root)
    if logs and found is None:
        logs.ship()
    return found


def _name(classes: Classes, label: float) -> str:
    return dict(classes).get(label, f"{label:g}")


def _choose_again(call: Call) -> Reply:
    path = SECOND if call.form.get("list") == "second" else NEXT
    _queue(call, path, again=True)
    return Redirect(path=link(path, model=call.project.name))


def _suspects(call: Call) -> Reply:
    project = call.project
    content = project.state.latest(kind_of(Suspects), name=project.name)
    found = None if content is None else read(Suspects, content)
    shown: list[Suspect] = []
    rows: Sequence[dict[str, str]] = ()
    n_left = 0
    if found is not None and content is not None:
        reviewed = _reviewed(project)
        waiting = [suspect for suspect in found.rows if suspect.digest and suspect.digest not in reviewed]
        n_left, shown = len(waiting), waiting[:N_SUSPECTS]
        numbers = [suspect.row for suspect in shown]
        key = "suspects", project.name, digest_of(content), *numbers
        rows = call.dashboard.cache.get(
            key, lambda: call.dashboard.workers.run(suspects_work.read_suspects, project.config, numbers)
        )
    last_reason = call.dashboard.cache.get(("reason", call.session.key), dict[str, str]).get("text", "")
    keys = {suspect.row: label_keys([suspect.likely_label, suspect.given_label]) for suspect in shown}
    values = {"found": found, "shown": list(zip(shown, rows, strict=False)), "n_left": n_left, "keys": keys}
    return Rendered(template="labels_suspects.html", values={**values, "last_reason": last_reason})


def _reviewed(project: Project) -> set[str]:
    """Return the digests of the rows whose labels were corrected or confirmed."""
    corrected = {correction.row for correction in project.records(Correction)}
    return corrected | {confirmation.row for confirmation in project.records(Confirmation)}


def _find_suspects(call: Call) -> Reply:
    call.dashboard.long_work.run(suspects_work.find_suspects, call.project.config)
    return Redirect(path=link(SUSPECTS, model=call.project.name), message="The labels were examined again.")


def _review(call: Call) -> Reply:
    row, digest = call.text("row", what="the row"), call.text("digest", what="the content of the row")
    if not row.isdecimal():
        raise BadInput("the row is not a number", hint="open the page again")
    reason = call.reason()
    to = call.form.get("to", "")
    call.dashboard.cache.get(("reason", call.session.key), dict[str, str])["text"] = reason
    done = call.dashboard.workers.run(
        suspects_work.review_label,
        call.project.config,
        row=int(row),
        to=to,
        who=call.session.user,
        why=reason,
        digest=digest,
    )
    return Redirect(path=link(SUSPECTS, model=call.project.name), message=f"{done[:1].upper()}{done[1:]}.")


def _agreement(call: Call) -> Reply:
    return Rendered(template="labels_agreement.html", values={"found": call.project.latest(Agreement)})


def _measure_agreement(call: Call) -> Reply:
    call.dashboard.workers.run(labels_work.save_agreement, call.project.config)
    return Redirect(path=link(AGREEMENT, model=call.project.name), message="The agreement was measured.")


plugin = Page(
    tab="Labels",
    order=60,
    views=[
        View(NEXT, _next, role="labeller"),
        View(SECOND, _second, role="labeller"),
        View(SUSPECTS, _suspects, role="labeller"),
        View(AGREEMENT, _agreement, role="labeller"),
    ],
    actions=[
        Action(NEXT, _give, role="labeller"),
        Action(f"{NEXT}/choose", _choose_again, role="labeller"),
        Action(SUSPECTS, _find_suspects, role="labeller"),
        Action(f"{SUSPECTS}/review", _review, role="labeller"),
        Action(AGREEMENT, _measure_agreement, role="labeller"),
    ],
)
