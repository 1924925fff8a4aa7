"""Take messages in by SMTP, with aiosmtpd; a mail is accepted once it is on disk."""

from __future__ import annotations

import asyncio

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from headway.core.config import Config
from headway.core.errors import ConfigError, HeadwayError
from headway.monitoring.settings.support import SupportSection
from headway.support.inbox import Inbox
from headway.support.mail import MAX_MAIL_BYTES, read_mail


class _Delivery:
    """Handles the mails of a listener."""

    def __init__(self, config: Config, inbox: Inbox) -> None:
        self._config, self._inbox = config, inbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Save a mail, and answer as SMTP does; a sender keeps one that cannot be saved, and tries again."""
        content = envelope.original_content or b""
        if envelope.mail_from in ("", "<>"):
            content = b"Return-Path: <>\r\n" + content
        try:
            message = read_mail(content, source="smtp", own=self._config[SupportSection].sender)
            await asyncio.get_running_loop().run_in_executor(None, self._inbox.take, message)
        except HeadwayError:
            return "451 the message cannot be saved now"
        return "250 taken"


def open_smtp(config: Config, inbox: Inbox) -> Controller:
    """Listen for mail on [support] smtp_port; its `stop` ends that. Raises ConfigError if the port is taken."""
    controller = Controller(
        _Delivery(config, inbox),
        hostname=config[SupportSection].listen,
        port=config[SupportSection].smtp_port,
        data_size_limit=MAX_MAIL_BYTES,
        ident="headway",
        server_hostname="headway",
    )
    try:
        controller.start()
    except OSError as error:
        if controller.loop.is_running():
            controller.stop()
        controller.loop.close()
        raise ConfigError(
            f"SMTP cannot listen on {config[SupportSection].listen}:{config[SupportSection].smtp_port}: "
            f"{error.strerror or error}",
            where="[support] smtp_port",
        ) from error
    return controller
