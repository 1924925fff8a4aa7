"""Mail comes in by IMAP and SMTP and goes out by SMTP, and the server is asked; what fails is tried again."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest
from tests.monitoring.alerts.places import PASSWORD, USER, mail_box
from tests.ports import free_port
from tests.support.shop import CUSTOMER, OWN, answering_server, imap_server, mail, shop

from headway.core.errors import ConfigError
from headway.storage.messages import read_messages
from headway.support._smtp import open_smtp
from headway.support.inbox import AnswerOfServer, Inbox
from headway.support.mail import MAX_MAIL_BYTES, read_mail
from headway.support.transports import NotReached, ask_server, fetch_mail, read_secret, send_mail

pytestmark = pytest.mark.slow


def unasked(config):
    return Inbox(config, ask=lambda _: AnswerOfServer(answer=""))


def a_reply():
    message = EmailMessage()
    message["From"], message["To"] = OWN, CUSTOMER
    message.set_content("on its way")
    return message


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_reply_is_sent_by_smtp(tmp_path, monkeypatch, security):
    monkeypatch.setenv("HEADWAY_SUPPORT_SMTP_PASSWORD", PASSWORD)
    with mail_box(tmp_path, security=security) as box:
        user = "" if security == "none" else f', user = "{USER}", ca = "{box.ca}"'
        config = shop(
            tmp_path, f'smtp = {{ server = "127.0.0.1", port = {box.port}, security = "{security}"{user} }}\n'
        )
        send_mail(config, a_reply())
    assert [sent["To"] for sent in box.mails] == [CUSTOMER]
    assert box.encrypted == [security != "none"]


def test_what_a_mail_server_refuses_is_an_error_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_SUPPORT_SMTP_PASSWORD", "a wrong secret")
    with mail_box(tmp_path) as box:
        config = shop(
            tmp_path,
            f'smtp = {{ server = "127.0.0.1", port = {box.port}, security = "starttls", user = "x", '
            f'ca = "{box.ca}" }}\n',
        )
        with pytest.raises(NotReached, match="does not accept the user") as error:
            send_mail(config, a_reply())
        assert "secret" not in str(error.value)
    with mail_box(tmp_path, security="none") as box:
        box.refused = (CUSTOMER,)
        config = shop(tmp_path, f'smtp = {{ server = "127.0.0.1", port = {box.port}, security = "none" }}\n')
        with pytest.raises(NotReached, match="does not do what is asked"):
            send_mail(config, a_reply())
    with pytest.raises(NotReached, match="cannot be reached"):
        send_mail(config, a_reply())


def test_mail_to_another_machine_is_encrypted(tmp_path):
    for protocol, use in (("smtp", lambda config: send_mail(config, a_reply())), ("imap", _fetch)):
        config = shop(tmp_path, f'{protocol} = {{ server = "mail.example", security = "none" }}\n')
        with pytest.raises(ConfigError, match="must be encrypted"):
            use(config)
    config = shop(tmp_path, 'imap = { server = "127.0.0.1", ca = "absent.pem" }\n')
    with pytest.raises(ConfigError, match="authorities"):
        _fetch(config)


def _fetch(config):
    return fetch_mail(config, unasked(config))


def test_new_mail_of_a_mailbox_is_taken_once_and_then_marked(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_SUPPORT_IMAP_PASSWORD", PASSWORD)
    with imap_server(PASSWORD) as box:
        toml = f'imap = {{ server = "127.0.0.1", port = {box.port}, security = "none", user = "shop" }}\n'
        config = shop(tmp_path, toml)
        box.mails += [mail("first"), mail("second", Message_ID="<2@a.example>"), mail("a" * MAX_MAIL_BYTES)]
        assert _fetch(config) == 3
        assert box.seen == {1, 2, 3}
        box.seen.clear()
        assert _fetch(config) == 0
        assert {found.text for found in read_messages(config.state, "shop")} == {"first", "second", ""}
        monkeypatch.setenv("HEADWAY_SUPPORT_IMAP_PASSWORD", "wrong")
        with pytest.raises(NotReached):
            _fetch(config)
        monkeypatch.setenv("HEADWAY_SUPPORT_IMAP_PASSWORD", PASSWORD)
        config = shop(tmp_path, toml.replace(" }", ', folder = "Other" }'))
        with pytest.raises(NotReached, match="no folder Other"):
            _fetch(config)


def test_a_mail_that_cannot_be_saved_stays_unseen(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_SUPPORT_IMAP_PASSWORD", PASSWORD)
    with imap_server(PASSWORD) as box:
        config = shop(
            tmp_path, f'imap = {{ server = "127.0.0.1", port = {box.port}, security = "none", user = "shop" }}\n'
        )
        config.state.mkdir()
        (config.state / "messages").write_text("no folder")
        box.mails.append(mail())
        with pytest.raises(Exception, match="cannot be saved"):
            _fetch(config)
        assert box.seen == set()


def test_mail_comes_in_by_smtp_and_is_accepted_once_it_is_saved(tmp_path, monkeypatch):
    port = free_port()
    config = shop(tmp_path, f"smtp_port = {port}\n")
    listener = open_smtp(config, unasked(config))
    try:
        with smtplib.SMTP("127.0.0.1", port) as server:
            server.sendmail(CUSTOMER, [OWN], mail())
            server.sendmail(CUSTOMER, [OWN], mail())
            server.sendmail("", [OWN], mail("it did not arrive", Message_ID="<3@a.example>"))
            with pytest.raises(smtplib.SMTPException):
                server.sendmail(CUSTOMER, [OWN], mail("a" * (MAX_MAIL_BYTES + 1)))
        states = {found.text: found.reason for found in read_messages(config.state, "shop")}
        assert states == {"Where is my parcel?": "", "it did not arrive": "bounce"}
        for file in (config.state / "messages" / "shop").iterdir():
            file.unlink()
        (config.state / "messages" / "shop").rmdir()
        (config.state / "messages" / "shop").write_text("no folder")
        with smtplib.SMTP("127.0.0.1", port) as server, pytest.raises(smtplib.SMTPDataError, match="451"):
            server.sendmail(CUSTOMER, [OWN], mail())
        monkeypatch.setenv("AIOSMTPD_CONTROLLER_TIMEOUT", "0.5")  # its thread has ended, and it waits
        with pytest.raises(ConfigError, match="cannot listen"):
            open_smtp(config, unasked(config))
    finally:
        listener.stop()


def test_the_server_is_asked_with_subject_text_and_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_SUPPORT_API_KEY", "k-1")
    with answering_server() as server:
        config = shop(tmp_path, f'server = "{server.url}"\n')
        message = _message(config)
        server.answer = {"answer": "delivery", "confidence": 0.9, "answered_by": "remote", "id": "x"}
        assert ask_server(config, message) == AnswerOfServer(answer="delivery", confidence=0.9, answered_by="remote")
        assert server.asked == [{"text": "Parcel\nWhere is my parcel?", "key": message.key}]
        assert server.keys == ["Bearer k-1"]
        server.answer = {"answer": 3}
        with pytest.raises(NotReached, match="cannot be asked"):
            ask_server(config, message)
        server.status = 503
        with pytest.raises(NotReached, match="status 503"):
            ask_server(config, message)
    with pytest.raises(NotReached, match="cannot be asked"):
        ask_server(config, message)


def _message(config):
    unasked(config).take(read_mail(mail(), source="imap"))
    return read_messages(config.state, "shop")[0]


def test_a_secret_may_be_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("word\n")
    assert read_secret("API_KEY", {"HEADWAY_SUPPORT_API_KEY_FILE": str(tmp_path / "secret")}) == "word"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret("API_KEY", {"HEADWAY_SUPPORT_API_KEY_FILE": str(tmp_path / "absent")})
