"""Messages of customers and the reply texts that a person approved."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

MessageSource = Literal["imap", "smtp", "webhook"]
MessageState = Literal["received", "ignored", "people", "draft", "sent"]
"""Where a message is: not answered yet, not to be answered, waiting for a person, replied as a draft, or sent."""
IgnoredReason = Literal["automatic", "mailing_list", "bounce", "own"]
"""Reason for which no reply is written: an answer could start a mail loop."""
HandedOnReason = Literal["no_reply", "expired_reply", "no_address", "too_many", "unreadable"]
"""Reason for which an answered message still waits for a person: its intent has no valid reply, or it has no sender."""

_LANGUAGE = "^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$"


class ApprovedReply(Record, frozen=True, kw_only=True):
    """A reply text that a person approved for an intent, in a language, valid through a day (`YYYY-MM-DD`)."""

    intent: Annotated[str, Meta(min_length=1)]
    text: Annotated[str, Meta(min_length=1, max_length=20_000)]
    language: Annotated[str, Meta(pattern=_LANGUAGE)] = "en"
    valid_until: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class CustomerMessage(StoredRecord, frozen=True, kw_only=True):
    """A message of a customer, and what became of it; times are ISO 8601 in UTC.

    `key` names it in the prediction log. `message_id` is that of its mail, or the sender's id of a webhook.
    `answered_by` is `model`, `remote` or the name of a person; `reason` says why it waits or is ignored. `reply` is the
    text of the draft.
    """

    key: str
    source: MessageSource
    received_at: str
    message_id: str = ""
    sender: str = ""
    subject: str = ""
    text: str = ""
    language: str = ""
    state: MessageState = "received"
    intent: str = ""
    confidence: float = 0.0
    answered_by: str = ""
    reason: str = ""
    reply: str = ""
    answered_at: str = ""
    sent_at: str = ""
    problem: str = ""


class TriedMessage(Record, frozen=True, kw_only=True):
    """What a release answers to a text: the class it would answer, its confidence, and who answers.

    `threshold` is that of the class, None if it is never answered. `likely` has the most probable classes.
    """

    answer: str
    confidence: float
    answered_by: str
    reason: str = ""
    rule: str = ""
    threshold: float | None = None
    is_certified: bool = False
    likely: tuple[tuple[str, float], ...] = ()


class MessageSummary(Record, frozen=True, kw_only=True):
    """What became of the messages of a model; a measurement is None if it is unknown.

    `oldest_us` is when the oldest message that waits came, microseconds since 1970, or 0. `corrected` is the share of
    the model's answers drawn for the audit that people corrected.
    """

    n_messages: int
    n_waiting: int
    oldest_us: int = 0
    answered: Measurement | None = None
    corrected: Measurement | None = None
    first_answer: Measurement | None = None
    no_first_answer: str = ""
    hours_saved: Measurement | None = None
