"""Take messages in, ask the server, choose the approved reply, and send it if a person enabled that.

Each step is on disk before the next begins, and is repeated after a crash: a message that was taken in is never lost.
A reply may leave twice if the process is killed while it is sent; both have the same Message-ID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.core.record import Record
from headway.core.settings.project import ProjectSection
from headway.core.support import ApprovedReply, CustomerMessage
from headway.monitoring.settings.support import SupportSection
from headway.storage.messages import add_message, find_message, read_messages, update_message
from headway.support.mail import compose_reply
from headway.support.replies import choose_reply, read_replies


class AnswerOfServer(Record, frozen=True, kw_only=True):
    """What the server answers to a text: the class, who gave it, and the reason if the model abstained.

    Only an answer with the status `answered` is used: another one is held, or no certificate covers it.
    """

    answer: str
    confidence: float = 0.0
    answered_by: str = "people"
    reason: str = ""
    status: str = "answered"


Ask = Callable[[CustomerMessage], AnswerOfServer]
Send = Callable[[EmailMessage], None]


class Inbox:
    """The messages of a project: `ask` asks its server, and `send` sends a mail; both raise HeadwayError."""

    def __init__(self, config: Config, *, ask: Ask, send: Send | None = None) -> None:
        self._config, self._ask, self._send = config, ask, send
        self._state, self._name = config.state, config[ProjectSection].name
        if config[SupportSection].send:
            expect_sendable(config)

    def take(self, message: CustomerMessage) -> bool:
        """Save a message, on disk on return; False for one that was taken before."""
        return add_message(self._state, self._name, message)

    def process(self, *, now: datetime | None = None) -> list[CustomerMessage]:
        """Answer what is new and send what may be sent; return the messages that changed.

        A server that does not answer stops nothing: its message is tried again the next time, with the `problem`.
        """
        now = now or datetime.now(UTC)
        replies = read_replies(self._config.path(self._config[SupportSection].replies))
        changed, messages = [], read_messages(self._state, self._name)
        replied = _replies_since(messages, now - timedelta(days=1))
        for message in messages:
            found = self._answered(message, replies, replied, now) if message.state == "received" else message
            if found.state == "draft" and self._config[SupportSection].send and self._send is not None:
                if found != message and not update_message(self._state, self._name, found):
                    continue  # it was erased
                found = self._sent(found, now)
            if found != message and update_message(self._state, self._name, found):
                changed.append(found)
        return changed

    def _answered(
        self, message: CustomerMessage, replies: Sequence[ApprovedReply], replied: Counter[str], now: datetime
    ) -> CustomerMessage:
        if not message.text.strip() and not message.subject:
            return replace(message, state="people", reason="unreadable")
        try:
            answer = self._ask(message)
        except HeadwayError as error:
            return replace(message, problem=error.what)
        found = replace(
            message,
            intent=answer.answer,
            confidence=answer.confidence,
            answered_by=answer.answered_by,
            reason=answer.reason,
            problem="",
        )
        if answer.status != "answered":
            return replace(found, state="people", reason=answer.reason or answer.status)
        if not answer.answer or answer.answered_by == "people":
            return replace(found, state="people")
        return self._drafted(found, replies, replied, now)

    def _drafted(
        self, message: CustomerMessage, replies: Sequence[ApprovedReply], replied: Counter[str], now: datetime
    ) -> CustomerMessage:
        """Return a message with the reply of its intent as a draft, or waiting for a person with the reason."""
        address = message.sender.lower()
        if not address:
            return replace(message, state="people", reason="no_address")
        if replied[address] >= self._config[SupportSection].replies_per_day:
            return replace(message, state="people", reason="too_many")
        found = draft_reply(message, replies, self._config, now=now)
        replied[address] += found.state == "draft"
        return found

    def _sent(self, message: CustomerMessage, now: datetime) -> CustomerMessage:
        if self._send is None:
            return message
        try:
            self._send(compose_reply(message, sender=self._config[SupportSection].sender, at=now))
        except HeadwayError as error:
            return replace(message, problem=error.what)
        return replace(message, state="sent", sent_at=now.isoformat(timespec="seconds"), problem="")


def _replies_since(messages: Sequence[CustomerMessage], since: datetime) -> Counter[str]:
    """Count the drafts and replies to each address; many in a day are a loop, or a person in need."""
    replied = (one for one in messages if one.reply and datetime.fromisoformat(one.answered_at) > since)
    return Counter(one.sender.lower() for one in replied)


def draft_reply(
    message: CustomerMessage, replies: Sequence[ApprovedReply], config: Config, *, now: datetime
) -> CustomerMessage:
    """Return a message with the approved reply of its intent as a draft, else waiting for a person with the reason."""
    own = [message.language] if message.language else []
    choice = choose_reply(replies, message.intent, languages=[*own, config[SupportSection].language], on=now.date())
    if choice.reply is None:
        return replace(message, state="people", reason=choice.reason or "no_reply")
    stamp = now.isoformat(timespec="seconds")
    return replace(message, state="draft", reply=choice.reply.text, answered_at=stamp, reason="")


def answer_by_person(config: Config, key: str, intent: str, *, who: str, now: datetime) -> CustomerMessage | None:
    """Give a waiting message the intent that a person chose, with its reply as a draft; None if no message has the key.

    Without a draft, the reason says why.
    """
    message = find_message(config.state, config[ProjectSection].name, key)
    if message is None:
        return None
    replies = read_replies(config.path(config[SupportSection].replies))
    labeled = replace(message, intent=intent, answered_by=who, reason="")
    found = draft_reply(labeled, replies, config, now=now) if message.sender else replace(labeled, reason="no_address")
    return found if update_message(config.state, config[ProjectSection].name, found) else None


def expect_sendable(config: Config) -> None:
    """Raise ConfigError unless [support] names a sender and a server to send by."""
    if "@" not in config[SupportSection].sender or not config[SupportSection].smtp.server:
        raise ConfigError(
            "replies cannot be sent without a sender and a server",
            where="[support]",
            hint='sender = "help@shop.example", smtp = { server = "smtp.example" }',
        )
