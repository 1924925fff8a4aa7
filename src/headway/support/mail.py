"""Read mail of customers within limits, recognize mail that must not be answered, and write replies.

Automatic mail is recognized as in RFC 3834 and RFC 2919: an answer to it could start a loop.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.errors import MessageError
from email.header import decode_header
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import format_datetime, getaddresses
from html.parser import HTMLParser

from msgspec.structs import replace

from headway.core.errors import DataError
from headway.core.support import CustomerMessage, IgnoredReason, MessageSource

MAX_MAIL_BYTES = 2_000_000
MAX_TEXT = 20_000
MAX_PARTS = 100
MAX_HEADER = 500
MAX_ADDRESS = 254
_LIST_HEADERS = ("List-Id", "List-Unsubscribe", "List-Post", "List-Help")
_BULK = ("bulk", "junk", "list", "auto_reply")
_DAEMONS = ("mailer-daemon", "postmaster", "no-reply", "noreply", "do-not-reply", "donotreply")
_ADDRESS = re.compile(r"[^\s@<>,;:\"\\()\[\]]+@[A-Za-z0-9.-]+")
_KEY_DIGITS = 24


def read_mail(content: bytes, *, source: MessageSource, own: str = "", at: datetime | None = None) -> CustomerMessage:
    """Return a mail as a message of a customer, `ignored` if it must not be answered.

    Parameters
    ----------
    content : bytes
        The mail as it was delivered; of one over `MAX_MAIL_BYTES`, only the headers are read.
    source : {"imap", "smtp"}
        How it came.
    own : str
        Address that replies are sent from: mail from it is ignored.
    at : datetime, optional
        When it came, UTC; default: now.
    """
    received_at = (at or datetime.now(UTC)).isoformat(timespec="seconds")
    read_bytes = (
        content if len(content) <= MAX_MAIL_BYTES else re.split(rb"\r?\n\r?\n", content[:65_536], maxsplit=1)[0]
    )
    digest = hashlib.sha256(content).hexdigest()
    try:
        mail = BytesParser(policy=compat32).parsebytes(read_bytes)
        message_id = _header(mail, "Message-ID")
        text = _text_of(mail) if read_bytes is content else ""
    except (MessageError, RecursionError, ValueError, LookupError, AttributeError, IndexError, TypeError):
        # The parser of the standard library is not written for hostile mail.
        return CustomerMessage(key=f"mail-{digest[:_KEY_DIGITS]}", source=source, received_at=received_at)
    sender = _address(mail, "Reply-To") or _address(mail, "From")
    if message_id:  # a mail that is delivered twice has other headers, but this id, sender and text
        digest = hashlib.sha256(f"{message_id}\0{sender}\0{text}".encode()).hexdigest()
    message = CustomerMessage(
        key=f"mail-{digest[:_KEY_DIGITS]}",
        source=source,
        received_at=received_at,
        message_id=message_id,
        sender=sender,
        subject=_header(mail, "Subject"),
        text=text,
        language=_language(mail),
    )
    reason = ignored_reason(mail, own=own)
    return replace(message, state="ignored", reason=reason) if reason else message


def ignored_reason(mail: Message, *, own: str = "") -> IgnoredReason | None:
    """Return why a mail must not be answered, None if it may be."""
    sender = _address(mail, "From")
    if own and sender.lower() == own.lower():
        return "own"
    if str(mail.get("Return-Path", "")).strip() == "<>" or mail.get_content_type() == "multipart/report":
        return "bounce"
    if any(mail.get(name) is not None for name in _LIST_HEADERS):
        return "mailing_list"
    submitted = _header(mail, "Auto-Submitted").partition(";")[0].strip().lower()
    is_bulk = _header(mail, "Precedence").lower() in _BULK
    is_daemon = sender.lower().partition("@")[0] in _DAEMONS
    marks = ("X-Auto-Response-Suppress", "X-Autoreply", "X-Autorespond")
    if submitted not in ("", "no") or is_bulk or is_daemon or any(mail.get(name) is not None for name in marks):
        return "automatic"
    return None


def _header(mail: Message, name: str) -> str:
    """Return a header decoded, on one line, shortened; empty without it."""
    try:
        parts = decode_header(str(mail.get(name, "")))
    except (MessageError, ValueError):
        parts = [(str(mail.get(name, "")), None)]
    words = [part if isinstance(part, str) else decode_text(part, charset or "") for part, charset in parts]
    return _one_line("".join(words))[:MAX_HEADER]


def _one_line(text: str) -> str:
    """Return a text without control characters and surrogates, so that it cannot add a header."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _address(mail: Message, name: str) -> str:
    """Return the only address of a header, empty without one, or with several."""
    found = [address for _, address in getaddresses([_header(mail, name)]) if address]
    is_one = len(found) == 1 and len(found[0]) <= MAX_ADDRESS and _ADDRESS.fullmatch(found[0])
    return found[0] if is_one else ""


def _language(mail: Message) -> str:
    found = re.match(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", _header(mail, "Content-Language"))
    return found[0] if found else ""


def _text_of(mail: Message) -> str:
    """Return the text of a mail: its plain text, else its HTML without tags; attachments are not read."""
    plain, html = list[str](), list[str]()
    for number, part in enumerate(mail.walk()):
        if number >= MAX_PARTS:
            break
        kind = part.get_content_type()
        if part.is_multipart() or part.get_content_disposition() == "attachment" or part.get_filename():
            continue
        if kind in ("text/plain", "text/html"):
            payload = part.get_payload(decode=True)
            text = decode_text(payload if isinstance(payload, bytes) else b"", str(part.get_param("charset") or ""))
            (plain if kind == "text/plain" else html).append(text)
    written = "\n".join(plain).strip() or "\n".join(map(html_to_text, html))
    return without_quotes(written)[:MAX_TEXT]


def decode_text(content: bytes, charset: str) -> str:
    """Return bytes as text: in the charset that is declared, else as UTF-8, else as Windows-1252; NUL is dropped."""
    for name in (charset, "utf-8"):
        try:
            return content.decode(name or "utf-8").replace("\0", "")
        except (LookupError, ValueError):
            continue
    return content.decode("cp1252", "replace").replace("\0", "")


class _HtmlText(HTMLParser):
    """The text of an HTML page, without scripts and styles."""

    _HIDDEN = ("script", "style", "head", "title", "template")
    _LINES = ("br", "p", "div", "tr", "li", "blockquote")

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a line, or a part that is not shown."""
        self._hidden += tag in self._HIDDEN
        self.parts += ["\n"] if tag in self._LINES else []

    def handle_endtag(self, tag: str) -> None:
        """End a part that is not shown."""
        self._hidden = max(0, self._hidden - (tag in self._HIDDEN))

    def handle_data(self, data: str) -> None:
        """Keep text that is shown."""
        if not self._hidden:
            self.parts.append(data)


def html_to_text(html: str) -> str:
    """Return the text of an HTML page; of a long one, that of its beginning.

    >>> html_to_text("<style>p {}</style><p>Where is <b>my parcel</b>?</p>")
    'Where is my parcel?'
    """
    reader = _HtmlText()
    try:
        reader.feed(html[: 10 * MAX_TEXT])
        reader.close()
    except (AssertionError, ValueError):  # declarations that the parser does not know
        reader.parts.append("")
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return "\n".join(line for line in lines if line)


def without_quotes(text: str) -> str:
    """Return a text without the lines that quote an earlier mail."""
    lines = [line.rstrip() for line in text.splitlines() if not line.lstrip().startswith(">")]
    return "\n".join(lines).strip()


def compose_reply(message: CustomerMessage, *, sender: str, at: datetime) -> EmailMessage:
    """Return the mail of a message's reply; its Message-ID is made of the key, so that a repetition is recognized.

    Raises DataError if the message has no address or no reply.
    """
    if not message.sender or not message.reply:
        raise DataError("the message has no address or no reply", where=message.key)
    reply = EmailMessage()
    subject = message.subject or "your message"
    reply["Subject"] = _one_line(subject if subject.lower().startswith("re:") else f"Re: {subject}")[:MAX_HEADER]
    reply["From"], reply["To"] = sender, message.sender
    reply["Date"] = format_datetime(at)
    reply["Message-ID"] = f"<{message.key}.headway@{sender.rpartition('@')[2]}>"
    if re.fullmatch(r"<[!-~]+>", message.message_id):
        reply["In-Reply-To"] = message.message_id
        reply["References"] = message.message_id
    reply["Auto-Submitted"] = "auto-replied"
    reply["X-Auto-Response-Suppress"] = "All"
    reply.set_content(message.reply)
    return reply
