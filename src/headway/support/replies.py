"""Approved reply texts: read them from `replies.toml`, and find the one for an intent, a language and a day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from headway.core.config import read_toml
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.core.support import ApprovedReply, HandedOnReason

HINT = '[[reply]] intent = "refund", language = "en", valid_until = 2027-12-31, text = "..."'


class _File(Record, frozen=True, kw_only=True):
    reply: tuple[ApprovedReply, ...] = ()


class ReplyChoice(NamedTuple):
    """The reply for a message, or the reason for which there is none."""

    reply: ApprovedReply | None
    reason: HandedOnReason | None = None


def read_replies(file: Path) -> tuple[ApprovedReply, ...]:
    """Return the replies of a file, none without the file.

    Raises ConfigError if it cannot be read, a date is none, or two replies have the same intent and language.
    """
    try:
        replies = msgspec.convert(_as_text(read_toml(file)), _File).reply
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"the replies cannot be read: {error.strerror}", where=str(file)) from error
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        raise ConfigError(
            f"a reply is wrong: {what[:1].lower()}{what[1:]}", where=f"{file}, {path.rstrip('`') or 'file'}", hint=HINT
        ) from error
    seen = set[tuple[str, str]]()
    for number, reply in enumerate(replies):
        where = f"{file}, reply[{number}]"
        try:
            date.fromisoformat(reply.valid_until)
        except ValueError as error:
            raise ConfigError(f"{reply.valid_until} is not a day", where=where, hint=HINT) from error
        if (reply.intent, reply.language) in seen:
            what = f"two replies for '{reply.intent}' in language {reply.language}"
            raise ConfigError(what, where=where, hint="remove one of them")
        seen.add((reply.intent, reply.language))
    return replies


def _as_text(value: object) -> object:
    """Return TOML values with dates as texts, so that a date may be written with or without quotes."""
    if isinstance(value, dict):
        return {name: _as_text(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_as_text(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value


def choose_reply(replies: Iterable[ApprovedReply], intent: str, *, languages: Sequence[str], on: date) -> ReplyChoice:
    """Return the reply for an intent in the first of the languages that has one; an expired one is refused.

    Parameters
    ----------
    replies : iterable of ApprovedReply
        Approved replies.
    intent : str
        Class that the message was given.
    languages : sequence of str
        That of the message and the project's default, such as ("de", "en"); `de-CH` also takes replies in `de`.
    on : date
        Day of the reply; a reply is valid through its last day.
    """
    of_intent = {reply.language: reply for reply in replies if reply.intent == intent}
    for language in languages:
        found = of_intent.get(language) or of_intent.get(language.partition("-")[0])
        if found is not None:
            is_valid = on <= date.fromisoformat(found.valid_until)
            return ReplyChoice(found) if is_valid else ReplyChoice(None, "expired_reply")
    return ReplyChoice(None, "no_reply")
