"""Messages of customers: where they come from, approved replies, and whether replies are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core.exposure import reached_at
from headway.core.record import Record, about
from headway.core.settings_section import SettingsSection


class MailServer(Record, frozen=True, kw_only=True):
    """A mail server; `none` as `security` is refused for one on another machine, and port 0 is the usual one.

    `ca` is a PEM file of the authorities that signed its certificate; empty: those of the system.
    """

    server: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    security: Literal["tls", "starttls", "none"] = "tls"
    user: str = ""
    folder: str = "INBOX"
    ca: str = ""


class SupportSection(SettingsSection, frozen=True, kw_only=True):
    """Messages of customers: where they come from, approved replies, and whether replies are sent."""

    table: ClassVar[str] = "support"
    secret_variables: ClassVar[tuple[str, ...]] = (
        "HEADWAY_SUPPORT_(IMAP_PASSWORD|SMTP_PASSWORD|WEBHOOK_SECRET|API_KEY)",
    )

    secrets: ClassVar[Mapping[str, str]] = {
        "imap": "HEADWAY_SUPPORT_IMAP_PASSWORD, or HEADWAY_SUPPORT_IMAP_PASSWORD_FILE",
        "smtp": "HEADWAY_SUPPORT_SMTP_PASSWORD, or HEADWAY_SUPPORT_SMTP_PASSWORD_FILE",
        "webhook_port": "HEADWAY_SUPPORT_WEBHOOK_SECRET, or HEADWAY_SUPPORT_WEBHOOK_SECRET_FILE",
        "server": "HEADWAY_SUPPORT_API_KEY, or HEADWAY_SUPPORT_API_KEY_FILE",
    }

    send: Annotated[bool, about("Send replies to customers; false: each reply stays a draft.")] = False
    sender: Annotated[str, about("Address that replies are sent from, such as help@shop.example.")] = ""
    replies: Annotated[str, about("File of approved replies: intent, language, valid_until and text.")] = "replies.toml"
    language: Annotated[
        str, Meta(description="Language of replies to messages that name none.", pattern="^[a-z]{2,3}(-[A-Za-z0-9]+)?$")
    ] = "en"
    replies_per_day: Annotated[
        int, Meta(description="Replies that one address gets in 24 hours; others wait for a person.", ge=1)
    ] = 5
    minutes_by_hand: Annotated[
        float, Meta(description="Minutes that a person takes for one message, for the hours saved.", gt=0)
    ] = 5.0
    server: Annotated[
        str,
        Meta(
            description="Address of the server that answers, such as http://127.0.0.1:8080; empty: that of [serve].",
            pattern="^(https?://[^/@]+)?$",
        ),
    ] = ""
    every_s: Annotated[float, Meta(description="Interval at which mail is fetched, seconds.", gt=0)] = 30.0
    imap: Annotated[MailServer, about("Mailbox that messages are read from: server, port, security, user, folder.")] = (
        MailServer()
    )
    smtp: Annotated[MailServer, about("Server that replies are sent by: server, port, security, user.")] = MailServer()
    listen: Annotated[str, about("Address that the webhook and the SMTP port of `headway support run` listen on.")] = (
        "127.0.0.1"
    )
    webhook_port: Annotated[int, about("TCP port for messages by signed HTTP requests; -1: none, 0: any.")] = -1
    smtp_port: Annotated[int, about("TCP port for messages by SMTP; -1: none, 0: any.")] = -1

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what it opens or asks: addresses, and digests of files."""
        ports = [port for port in (self.webhook_port, self.smtp_port) if port >= 0]
        address = reached_at(self.listen) if ports else ""
        return {"support.listen": ", ".join(part for part in (address, self.imap.server) if part)}


plugin = SupportSection
