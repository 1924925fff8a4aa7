"""Mail and answers over the network: read a mailbox by IMAP, send by SMTP, and ask the server of the project."""

from __future__ import annotations

import imaplib
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import msgspec

from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.core.outbound import open_url
from headway.core.settings.project import ProjectSection
from headway.core.support import CustomerMessage
from headway.monitoring.settings.support import MailServer, SupportSection
from headway.serving.settings.serve import ServeSection
from headway.support.inbox import AnswerOfServer, Inbox
from headway.support.mail import MAX_MAIL_BYTES, MAX_TEXT, read_mail

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 1_000_000
MAILS_AT_ONCE = 200
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PORTS = {"imap": {"tls": 993, "starttls": 143, "none": 143}, "smtp": {"tls": 465, "starttls": 587, "none": 25}}


class NotReached(HeadwayError):
    """A mail server or the server of the project did not do what was asked; it is tried again."""


def read_secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret of HEADWAY_SUPPORT_<NAME>, or of the file that HEADWAY_SUPPORT_<NAME>_FILE names, else ''."""
    variable = f"HEADWAY_SUPPORT_{name}"
    file = environment.get(f"{variable}_FILE")
    if file is None:
        return environment.get(variable, "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the file of a secret cannot be read", where=f"{variable}_FILE") from error


def _context(config: Config, settings: MailServer, protocol: str) -> ssl.SSLContext:
    """Return the TLS settings of a mail server; raises ConfigError for one on another machine without TLS."""
    if settings.security == "none" and settings.server not in LOOPBACK:
        raise ConfigError(
            f"mail to {settings.server} must be encrypted", where=f"[support] {protocol}", hint='security = "tls"'
        )
    try:
        return ssl.create_default_context(cafile=config.path(settings.ca) if settings.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("the file of authorities cannot be read", where=f"[support] {protocol}.ca") from error


@contextmanager
def _mail_errors(settings: MailServer) -> Iterator[None]:
    """Turn the errors of a mail server into NotReached; the message holds no secret."""
    try:
        yield
    except smtplib.SMTPAuthenticationError:
        raise NotReached(f"{settings.server} does not accept the user or the password") from None
    except smtplib.SMTPResponseException as error:
        raise NotReached(f"{settings.server} answered with code {error.smtp_code}") from None
    except (imaplib.IMAP4.error, smtplib.SMTPException) as error:
        raise NotReached(f"{settings.server} does not do what is asked: {type(error).__name__}") from None
    except OSError as error:
        raise NotReached(f"{settings.server} cannot be reached: {error.strerror or type(error).__name__}") from None


def send_mail(config: Config, mail: EmailMessage) -> None:
    """Send a mail by the server of [support] smtp; raises NotReached if it is not taken."""
    settings = config[SupportSection].smtp
    tls = _context(config, settings, "smtp")
    port = settings.port or _PORTS["smtp"][settings.security]
    with _mail_errors(settings):
        server = (
            smtplib.SMTP_SSL(settings.server, port, timeout=TIMEOUT_S, context=tls)
            if settings.security == "tls"
            else smtplib.SMTP(settings.server, port, timeout=TIMEOUT_S)
        )
        with server:
            if settings.security == "starttls":
                server.starttls(context=tls)
            if settings.user:
                server.login(settings.user, read_secret("SMTP_PASSWORD"))
            server.send_message(mail)


def fetch_mail(config: Config, inbox: Inbox) -> int:
    """Take the unseen mails of the mailbox, and return how many were new; a mail is marked seen once it is on disk.

    Of a mail over `MAX_MAIL_BYTES` only the beginning is fetched. Raises NotReached.
    """
    settings = config[SupportSection].imap
    tls = _context(config, settings, "imap")
    port = settings.port or _PORTS["imap"][settings.security]
    count = 0
    with _mail_errors(settings):
        server = (
            imaplib.IMAP4_SSL(settings.server, port, ssl_context=tls, timeout=TIMEOUT_S)
            if settings.security == "tls"
            else imaplib.IMAP4(settings.server, port, timeout=TIMEOUT_S)
        )
        try:
            if settings.security == "starttls":
                server.starttls(tls)
            server.login(settings.user, read_secret("IMAP_PASSWORD"))
            status, _ = server.select(_quoted(settings.folder))
            if status != "OK":
                raise NotReached(f"{settings.server} has no folder {settings.folder}")
            _, found = server.uid("SEARCH", "UNSEEN")
            for uid in (found[0] or b"").split()[:MAILS_AT_ONCE]:
                count += _take_one(server, uid.decode("ascii", "replace"), config, inbox)
        finally:
            with suppress(imaplib.IMAP4.error, OSError):
                server.logout()
    return count


def _take_one(server: imaplib.IMAP4, uid: str, config: Config, inbox: Inbox) -> bool:
    _, parts = server.uid("FETCH", uid, f"(BODY.PEEK[]<0.{MAX_MAIL_BYTES + 1}>)")
    content = next((part[1] for part in parts if isinstance(part, tuple)), None)
    if content is None:
        return False
    is_new = inbox.take(read_mail(content, source="imap", own=config[SupportSection].sender))
    server.uid("STORE", uid, "+FLAGS", r"(\Seen)")
    return is_new


def _quoted(folder: str) -> str:
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def ask_server(config: Config, message: CustomerMessage) -> AnswerOfServer:
    """Return what the server answers to a message; raises NotReached if it does not."""
    address = config[SupportSection].server or f"http://127.0.0.1:{config[ServeSection].port}"
    text = f"{message.subject}\n{message.text}".strip()[:MAX_TEXT]
    headers = {"Content-Type": "application/json"}
    if key := read_secret("API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"{address}/v2/models/{quote(config[ProjectSection].name, safe='')}/answer",
        msgspec.json.encode({"text": text, "key": message.key}),
        headers,
    )
    try:
        with open_url(request, timeout_s=TIMEOUT_S) as response:
            return _read_answer(response.read(MAX_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise NotReached(f"{address} answered with status {error.code}") from None
    except (OSError, HTTPException, msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", error)
        raise NotReached(
            f"{address} cannot be asked: {getattr(reason, 'strerror', None) or type(reason).__name__}"
        ) from None


def _read_answer(content: bytes) -> AnswerOfServer:
    values = msgspec.json.decode(content, type=dict[str, object])
    known = {field.name for field in msgspec.structs.fields(AnswerOfServer)}
    return msgspec.convert({name: value for name, value in values.items() if name in known}, AnswerOfServer)
