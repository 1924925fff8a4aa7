"""Messages: try one, answer those that wait for a person, and see what became of the others."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headway.core.config import Config
from headway.core.late import LateModule
from headway.core.record import digest_of
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.core.support import CustomerMessage, MessageSummary
from headway.dashboard.app import link
from headway.dashboard.page import Action, BadInput, Call, Page, Redirect, Rendered, Reply, View
from headway.dashboard.pages.labels import LabelQueue, save_one
from headway.monitoring.settings.support import SupportSection
from headway.storage.messages import find_message
from headway.storage.traffic import Label, log_version
from headway.support.inbox import answer_by_person
from headway.support.replies import read_replies

if TYPE_CHECKING:
    from headway.dashboard.work import messages as messages_work
else:  # only the process for heavy work imports them
    messages_work = LateModule("headway.dashboard.work.messages")

TRY, QUEUE = "/models/{model}/messages", "/models/{model}/messages/queue"
N_WAITING = 200
MAX_TEXT = 20_000
SHARED_S = 30.0
"""Time after which a log that machines share is read again."""


def _try(call: Call) -> Reply:
    return _page(call)


def _ask(call: Call) -> Reply:
    text = call.text("text", what="the message", at_most=MAX_TEXT)
    tried = call.dashboard.workers.run(messages_work.try_text, call.project.config, text)
    config = call.project.config
    replies = [
        reply for reply in read_replies(config.path(config[SupportSection].replies)) if reply.intent == tried.answer
    ]
    return _page(call, tried=tried, text=text, replies=replies)


def _page(call: Call, **values: object) -> Reply:
    config = call.project.config
    at, found = _summarize(call) or ("", None)
    problem, summary = (found, None) if isinstance(found, str) else ("", found)
    log = {"at": at, "problem": problem, "summary": summary}
    shown: dict[str, object] = {"tried": None, "text": "", "replies": [], "support": config[SupportSection], "log": log}
    return Rendered(template="messages.html", values=shown | {"today": datetime.now(UTC).date().isoformat()} | values)


def _summarize(call: Call) -> tuple[str, MessageSummary | str] | None:
    """Return a summary of the log and its time: the newest, or while that is computed the one before it, if any."""
    config, name = call.project.config, call.project.name
    live = call.project.state.last(name, "live")
    changed = time.time() // SHARED_S if config[StoreSection].logs else log_version(config.state, name)
    version = changed, live and digest_of(live.content), config[SupportSection]

    def compute() -> tuple[str, MessageSummary | str]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return at, call.dashboard.workers.run(messages_work.summarize_log, config)

    return call.dashboard.cache.newest((TRY, name), version, compute)


def _queue(call: Call, *, again: bool = False) -> LabelQueue:
    config = call.project.config
    queue = call.dashboard.cache.get((QUEUE, call.project.name), LabelQueue)
    queue.fill(lambda: call.dashboard.workers.run(messages_work.waiting, config, N_WAITING), again=again)
    return queue


def _next(call: Call) -> Reply:
    queue = _queue(call)
    request = queue.find(call.query.get("key", "")) or queue.take(call.session.user)
    mail = find_message(call.project.config.state, call.project.name, request.key) if request else None
    config = call.project.config
    replies = read_replies(config.path(config[SupportSection].replies))
    came_at = datetime.fromtimestamp(request.at_us / 1e6, UTC).isoformat(timespec="seconds") if request else ""
    likely = sorted(zip(request.scores, queue.classes, strict=False), reverse=True)[:3] if request else []
    values = {
        "request": request,
        "queue": queue,
        "mail": mail,
        "replies": replies,
        "came_at": came_at,
        "likely": likely,
    }
    return Rendered(template="messages_queue.html", values=values)


def _give(call: Call) -> Reply:
    key, user = call.text("key", what="the key of the message", at_most=4096), call.session.user
    queue, back = _queue(call), link(QUEUE, model=call.project.name)
    if call.form.get("do") == "skip":
        queue.skip(user, key)
        return Redirect(path=back)
    names = {name: value for value, name in queue.classes}
    name = call.form.get("label", "").strip()
    if name not in names:
        raise BadInput(f"'{name}' is none of the classes of the model", hint="choose one of the list")
    config, label = call.project.config, Label(key, names[name])
    stored = call.dashboard.workers.run(save_one, config, label, user, is_second=False)
    queue.finish(key)
    if stored is not None and stored.who != user:
        return Redirect(path=back, message=f"Not saved: {stored.who} answered this message before you.")
    call.save_action("label.given", subject=key, outcome=f"labeled {name}")
    return Redirect(path=back, message=f"Saved as {name}. {_describe(answer_message(config, key, name, who=user))}")


def answer_message(config: Config, key: str, intent: str, *, who: str) -> CustomerMessage | None:
    """Give the message of a key the intent that a person chose; None if it came by no mailbox or webhook.

    One with a reply keeps it: the label corrects the model, and the customer was answered.
    """
    found = find_message(config.state, config[ProjectSection].name, key)
    if found is None or found.state in ("sent", "ignored"):
        return found
    return answer_by_person(config, key, intent, who=who, now=datetime.now(UTC))


def _describe(message: CustomerMessage | None) -> str:
    """Return what happened to the reply, for the person who answered."""
    if message is None:
        return "The answer is a label: it came by no mailbox, so nothing is sent."
    if message.state == "draft":
        return "The approved reply is a draft."
    if message.state == "people":
        return "No approved reply is valid for it: write to the customer yourself."
    return "The customer was answered before."


def _refresh(call: Call) -> Reply:
    _queue(call, again=True)
    return Redirect(path=link(QUEUE, model=call.project.name))


plugin = Page(
    tab="Messages",
    order=62,
    views=[View(TRY, _try, role="labeller"), View(QUEUE, _next, role="labeller")],
    actions=[
        Action(TRY, _ask, role="labeller"),
        Action(QUEUE, _give, role="labeller"),
        Action(f"{QUEUE}/refresh", _refresh, role="labeller"),
    ],
)
