"""The command lists messages and replies, and takes messages in and answers them."""

from __future__ import annotations

import smtplib
import subprocess
import sys

import msgspec
import pytest
from tests.monitoring.alerts.places import PASSWORD, until
from tests.ports import free_port
from tests.support.shop import CUSTOMER, OWN, REPLIES, answering_server, imap_server, mail, shop

from headway.cli import main as cli
from headway.storage.messages import read_messages

pytestmark = pytest.mark.slow


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["support", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code, "".join(capsys.readouterr())


def test_expired_replies_are_listed_with_exit_code_1(tmp_path, capsys):
    shop(tmp_path)
    code, shown = run(capsys, "replies", "--project", str(tmp_path))
    assert code == cli.FAIL and "refund  en  valid until 2026-01-31  EXPIRED" in shown
    shop(tmp_path, replies=REPLIES.replace("2026-01-31", "2999-01-31").replace("2027", "2999"))
    assert run(capsys, "replies", "--project", str(tmp_path))[0] == cli.PASS


def test_one_round_fetches_mail_and_drafts_the_reply(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADWAY_SUPPORT_IMAP_PASSWORD", PASSWORD)
    with imap_server(PASSWORD) as box, answering_server() as server:
        toml = f'server = "{server.url}"\nimap = {{ server = "127.0.0.1", port = {box.port}, security = "none" }}\n'
        replies = REPLIES.replace("2027", "2999")
        config = shop(tmp_path, toml, replies=replies)
        assert run(capsys, "--project", str(tmp_path)) == (cli.PASS, "no messages\n")
        box.mails.append(mail())
        code, shown = run(capsys, "run", "--once", "--project", str(tmp_path), "--json")
        assert code == cli.PASS and msgspec.json.decode(shown)["messages"] == {"draft": 1}
    (found,) = read_messages(config.state, "shop")
    assert found.reply == "Your parcel is on its way."
    assert "draft     delivery  mail-" in run(capsys, "list", "--project", str(tmp_path))[1]
    code, shown = run(capsys, "run", "--once", "--project", str(tmp_path), "--json")
    assert code == cli.FAIL and "cannot be reached" in shown


def test_a_process_takes_mail_by_smtp_until_it_is_interrupted(tmp_path):
    port = free_port()
    with answering_server() as server:
        toml = f'server = "{server.url}"\nsmtp_port = {port}\nwebhook_port = 0\nevery_s = 0.05\n'
        config = shop(tmp_path, toml, replies=REPLIES.replace("2027", "2999"))
        command = [sys.executable, "-m", "headway.cli", "support", "run", "--project", str(tmp_path)]
        environment = {"HEADWAY_SUPPORT_WEBHOOK_SECRET": "0123456789abcdef", "PATH": "/usr/bin:/bin"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            assert "messages by signed requests" in process.stderr.readline()
            assert "messages by SMTP" in process.stderr.readline()
            assert "drafts" in process.stderr.readline()
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.sendmail(CUSTOMER, [OWN], mail())
            until(lambda: [found.state for found in read_messages(config.state, "shop")] == ["draft"])
            process.terminate()
            process.wait(60)
