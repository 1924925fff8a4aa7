"""Mail in a mailbox of Dovecot, by STARTTLS: it is read once, answered, and not lost when the process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.monitoring.alerts.places import mail_box, until
from tests.serving.chat_server import chat_server, response
from tests.support.dovecot import PASSWORD, USER, dovecot
from tests.support.shop import CUSTOMER, REPLIES, answering_server, mail, shop

from headway.storage.messages import read_messages

pytestmark = [pytest.mark.slow, pytest.mark.services]
SETTINGS = """server = "{server}"
imap = {{ server = "127.0.0.1", port = {port}, security = "starttls", user = "{user}", ca = "{ca}" }}
"""


def settings(box, server, more=""):
    return SETTINGS.format(server=server, port=box.port, user=USER, ca=box.ca) + more


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    environment = {"HEADWAY_SUPPORT_IMAP_PASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "headway.cli", "support", "run", *words, "--json", "--project", str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_once(folder: Path) -> tuple[int, dict[str, int]]:
    """Run one round; return its exit code, and how many messages are in each state."""
    process = started(folder, "--once")
    out, err = process.communicate(timeout=120)
    assert out, err
    return process.returncode, msgspec.json.decode(out)["messages"]


def test_mail_is_read_once_and_becomes_a_draft(tmp_path):
    with dovecot() as box, answering_server() as server:
        config = shop(tmp_path, settings(box, server.url), replies=REPLIES.replace("2027", "2999"))
        assert run_once(tmp_path) == (0, {})
        box.deliver(mail())
        box.deliver(mail("Wo ist mein Päckchen?", Message_ID="<2@home.example>", Content_Language="de"))
        box.deliver(mail("news", Message_ID="<3@home.example>", List_Id="<list.example>"))
        assert run_once(tmp_path) == (0, {"draft": 2, "ignored": 1})
        assert box.unseen() == 0
        drafts = sorted(found.reply for found in read_messages(config.state, "shop") if found.state == "draft")
        assert drafts == ["Ihr Paket ist unterwegs.", "Your parcel is on its way."]
        box.mark_unseen()
        assert run_once(tmp_path) == (0, {"draft": 2, "ignored": 1}), "nothing is read twice"
        assert (len(server.asked), box.unseen()) == (2, 0)
    assert run_once(tmp_path)[0] == 1, "the server is gone"


def test_a_killed_process_is_resumed_and_the_reply_is_sent_once(tmp_path):
    with dovecot() as box, chat_server() as server, mail_box(tmp_path, security="none") as out:
        sending = f'send = true\nsmtp = {{ server = "127.0.0.1", port = {out.port}, security = "none" }}\n'
        config = shop(
            tmp_path,
            settings(box, f"http://127.0.0.1:{server.port}", sending),
            replies=REPLIES.replace("2027", "2999"),
        )
        server.content = None  # the server of the project hangs, so the process is killed while it waits
        box.deliver(mail())
        process = started(tmp_path)
        server.requests.get(timeout=60)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert [found.state for found in read_messages(config.state, "shop")] == ["received"]
        box.mark_unseen()  # as if it had been killed before the mark

        server.content = response(200, b'{"answer": "delivery", "answered_by": "model"}')
        process = started(tmp_path)
        until(lambda: bool(out.mails))
        until(lambda: [found.state for found in read_messages(config.state, "shop")] == ["sent"])
        process.terminate()
        process.communicate(timeout=60)
        assert run_once(tmp_path) == (0, {"sent": 1})
    assert Counter(sent["To"] for sent in out.mails) == {CUSTOMER: 1}
    assert out.mails[0].get_content().strip() == "Your parcel is on its way."
