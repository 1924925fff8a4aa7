"""Answer messages of customers by mail or webhook with approved replies, as drafts until sending is enabled."""

from __future__ import annotations

import importlib
import threading
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from headway.cli.exit_codes import FAIL, PASS
from headway.cli.main import AsJson, ProjectFolder
from headway.core.config import Config, load
from headway.core.errors import HeadwayError, PluginError
from headway.core.settings.project import ProjectSection
from headway.core.support import ApprovedReply
from headway.monitoring.settings.support import SupportSection
from headway.reporting.console import print_result, print_status
from headway.storage.messages import read_messages
from headway.support.inbox import Inbox
from headway.support.replies import read_replies
from headway.support.transports import ask_server, fetch_mail, read_secret, send_mail
from headway.support.webhook import PATH, open_webhook


def plugin(
    action: Literal["list", "replies", "run"] = "list",
    *,
    once: Annotated[bool, Parameter(negative=())] = False,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """List messages, list approved replies (exit 1 if one has expired), or take messages in and answer them.

    With `run`, messages come from the mailbox, the webhook and the SMTP port that [support] names. The server of the
    project is asked for each. A reply is a draft, unless `[support] send` is true.

    Example: headway support list --project shop
    Example: headway support replies --project shop
    Example: headway support run --project shop

    Parameters
    ----------
    action
        list, replies or run.
    once
        With run: fetch, answer and send once, and end (exit 1 if a server did not answer).
    """
    config = load(project)
    if action == "replies":
        return _list_replies(config, json=json)
    if action == "run":
        return _run(config, once=once, json=json)
    messages = read_messages(config.state, config[ProjectSection].name)
    lines = [
        f"{message.received_at}  {message.state:8}  {message.intent or '-'}  {message.key}"
        + (f"  {message.reason or message.problem}" if message.reason or message.problem else "")
        for message in messages
    ]
    print_result({"messages": messages}, "\n".join(lines) or "no messages", json=json)
    return PASS


def _list_replies(config: Config, *, json: bool) -> int:
    replies = read_replies(config.path(config[SupportSection].replies))
    expired = [reply for reply in replies if has_expired(reply)]
    lines = [
        f"{reply.intent}  {reply.language}  valid until {reply.valid_until}{'  EXPIRED' if reply in expired else ''}"
        for reply in replies
    ]
    print_result({"replies": replies, "expired": expired}, "\n".join(lines) or "no replies", json=json)
    return FAIL if expired else PASS


def has_expired(reply: ApprovedReply) -> bool:
    """Return whether a reply has expired by today, UTC."""
    return reply.valid_until < datetime.now(UTC).date().isoformat()


def _run(config: Config, *, once: bool, json: bool) -> int:
    """Fetch, answer and send, once or until Ctrl-C."""
    inbox = Inbox(config, ask=partial(ask_server, config), send=partial(send_mail, config))
    support = config[SupportSection]
    if once:
        problems, counts = _round(config, inbox)
        lines = [f"{state}: {count}" for state, count in counts.items()]
        print_result({"messages": counts, "problems": problems}, "\n".join(lines) or "no messages", json=json)
        return FAIL if problems else PASS
    with ExitStack() as stack:
        if support.webhook_port >= 0:
            webhook = open_webhook(inbox, read_secret("WEBHOOK_SECRET"), host=support.listen, port=support.webhook_port)
            stack.callback(webhook.close)
            print_status(f"messages by signed requests: http://{support.listen}:{webhook.port}{PATH}")
        if support.smtp_port >= 0:
            stack.callback(_open_smtp(config, inbox).stop)
            print_status(f"messages by SMTP: {support.listen}:{support.smtp_port}")
        print_status("replies are sent" if support.send else "replies stay drafts; [support] send = true sends them")
        ended = threading.Event()
        while not ended.wait(support.every_s):
            for problem in _round(config, inbox)[0]:
                print_status(problem)
    return PASS


def _round(config: Config, inbox: Inbox) -> tuple[list[str], dict[str, int]]:
    """Fetch mail and process the messages; return the problems, and how many messages are in each state."""
    problems = []
    if config[SupportSection].imap.server:
        try:
            fetch_mail(config, inbox)
        except HeadwayError as error:
            problems.append(error.what)
    inbox.process()
    messages = read_messages(config.state, config[ProjectSection].name)
    problems += sorted({message.problem for message in messages if message.problem})
    return problems, dict(sorted(Counter(message.state for message in messages).items()))


def _open_smtp(config: Config, inbox: Inbox) -> Any:
    """Return a listener for mail; raises PluginError if its library is not installed."""
    try:
        module = importlib.import_module("headway.support._smtp")
    except ModuleNotFoundError as error:
        raise PluginError(
            "messages by SMTP need a library that is not installed", hint='pip install "headway[mail]"'
        ) from error
    return module.open_smtp(config, inbox)
