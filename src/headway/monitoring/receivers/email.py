"""Send alerts by e-mail over SMTP, encrypted unless the server is on this machine."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from headway.core.alerting import Alert
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.monitoring.alerts.receiver import DeliveryFailed, ReceiverContext, shorten

TIMEOUT_S = 20.0
MAX_TEXT = 20_000
PORTS = {"starttls": 587, "tls": 465, "none": 25}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class EmailSettings(Record, frozen=True, kw_only=True):
    """Settings of e-mails.

    Attributes
    ----------
    server, port : str, int
        SMTP server; port 0 is the usual one: 587, or 465 with `tls`.
    security : {"starttls", "tls", "none"}
        `none` is refused for a server on another machine.
    user : str
        Name to sign in with; its password is read from the variable HEADWAY_ALERT_<RULE>_PASSWORD.
    sender, recipients : str, list of str
        Addresses.
    ca : str
        PEM file of the authorities that signed the server's certificate; empty: those of the system.
    """

    server: str
    sender: str
    recipients: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
    port: int = 0
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    ca: str = ""


class Email:
    """Send each alert as one e-mail; its Message-ID is made of the alert's id, so that a repetition is recognized."""

    def __init__(self, context: ReceiverContext) -> None:
        self._settings = settings = context.read_settings(EmailSettings)
        self._password = context.secret("PASSWORD") if settings.user else ""
        for name in ("sender", *settings.recipients):
            address = settings.sender if name == "sender" else name
            if "@" not in address or not address.isprintable() or any(char in address for char in " ,<>"):
                raise ConfigError(f"{address!r} is not an e-mail address", where=context.where, hint="ops@example.com")
        if settings.security == "none" and settings.server not in LOOPBACK:
            raise ConfigError(
                "e-mail to another machine must be encrypted", where=context.where, hint='security = "starttls"'
            )
        if settings.user and not self._password:
            raise ConfigError(
                f"no password is known for {settings.user}",
                where=context.where,
                hint=f"set {context.variable('PASSWORD')}, or {context.variable('PASSWORD')}_FILE",
            )
        self._tls = ssl.create_default_context()
        if settings.ca:
            self._tls = _trusting(context.folder / Path(settings.ca).expanduser())

    @property
    def address(self) -> str:
        """Recipients and server."""
        return f"{', '.join(self._settings.recipients)} by {self._settings.server}"

    def send(self, alert: Alert) -> None:
        """Send an alert to all recipients; it has failed if the server refuses one of them."""
        settings = self._settings
        try:
            with self._connect() as server:
                if settings.security == "starttls":
                    server.starttls(context=self._tls)
                if settings.user:
                    server.login(settings.user, self._password)
                refused = server.send_message(compose_email(alert, settings.sender, settings.recipients))
        except smtplib.SMTPAuthenticationError:
            raise DeliveryFailed(f"{settings.server} does not accept the user or the password") from None
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(f"{settings.server} answered with code {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused:
            raise DeliveryFailed(f"{settings.server} refuses every recipient") from None
        except ssl.SSLError as error:
            reason = error.reason or type(error).__name__
            raise DeliveryFailed(f"{settings.server} cannot be trusted: {reason}") from None
        except smtplib.SMTPException as error:
            raise DeliveryFailed(f"{settings.server} does not do what is asked: {type(error).__name__}") from None
        except OSError as error:
            why = f"no answer within {TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else error.strerror
            raise DeliveryFailed(f"{settings.server} cannot be reached: {why or type(error).__name__}") from None
        if refused:
            raise DeliveryFailed(f"{settings.server} refuses {', '.join(sorted(refused))}")

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        port = settings.port or PORTS[settings.security]
        if settings.security == "tls":
            return smtplib.SMTP_SSL(settings.server, port, timeout=TIMEOUT_S, context=self._tls)
        return smtplib.SMTP(settings.server, port, timeout=TIMEOUT_S)


def _trusting(file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "it is not a certificate"
        raise ConfigError(f"the file of authorities cannot be read: {reason}", where=str(file)) from error


def compose_email(alert: Alert, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """Return the message of an alert."""
    message = EmailMessage()
    message["Subject"] = shorten(f"[headway] {alert.project}: {alert.condition} {alert.state}", at_most=200)
    message["From"], message["To"] = sender, ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromisoformat(alert.at))
    message["Message-ID"] = f"<{alert.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [
        alert.summary[:MAX_TEXT],
        "",
        f"Model: {alert.project}",
        f"Condition: {alert.condition}, {alert.state}",
        f"Since: {alert.since}",
        *([f"Release: {alert.release}"] if alert.release else []),
        *(["", f"Open the dashboard: {alert.link}"] if alert.link else []),
        "",
        f"Sent by the rule {alert.rule} of headway.toml.",
    ]
    message.set_content("\n".join(lines))
    return message


plugin = Email
