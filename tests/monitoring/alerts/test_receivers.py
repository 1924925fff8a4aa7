"""Test what each receiver of headway sends, and what it refuses to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
import pytest
from tests.contract.test_receiver import ALERT
from tests.monitoring.alerts.places import PASSWORD, USER, http_site, mail_box, until

from headway.core.errors import ConfigError
from headway.monitoring.alerts.receiver import DeliveryFailed, ReceiverContext
from headway.monitoring.receivers import command as command_module
from headway.monitoring.receivers.command import Command
from headway.monitoring.receivers.email import Email
from headway.monitoring.receivers.webhook import Webhook, encode

pytestmark = pytest.mark.slow


def context(settings: dict[str, object], folder: Path = Path("."), **environment: str) -> ReceiverContext:
    variables = {f"HEADWAY_ALERT_OPS_{name}": value for name, value in environment.items()}
    return ReceiverContext(rule="ops", settings=settings, folder=folder, environment=variables)


def test_a_webhook_posts_the_alert_as_json_with_its_id_and_the_token():
    with http_site() as site:
        Webhook(context({"url": f"{site.url}/hook?a=1"}, TOKEN="t0ken")).send(ALERT)
    (body,), (headers,) = site.bodies, site.headers
    assert body == {"version": 1, **msgspec.to_builtins(ALERT)}
    assert headers["Idempotency-Key"] == ALERT.id and headers["Authorization"] == "Bearer t0ken"
    assert site.paths == ["/hook?a=1"]


def test_a_url_that_is_a_secret_comes_from_the_environment_or_a_file(tmp_path):
    file = tmp_path / "url"
    with http_site() as site:
        Webhook(context({}, URL=f"{site.url}/a")).send(ALERT)
        file.write_text(f"{site.url}/b\n")
        Webhook(context({}, URL_FILE=str(file))).send(ALERT)
    assert site.paths == ["/a", "/b"]
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        Webhook(context({}, URL_FILE=str(file)))
    with pytest.raises(ConfigError, match="No such file"):
        Webhook(context({}, URL_FILE=str(tmp_path / "none")))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_webhook_follows_no_redirect(status):
    with http_site() as other, http_site() as site:
        site.statuses, site.location = [status], other.url
        with pytest.raises(DeliveryFailed, match=f"{site.url} answered with status {status}"):
            Webhook(context({"url": site.url})).send(ALERT)
        assert other.bodies == []


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "file:///etc/passwd", "http://", "no url", "http://a b/", "http://a:b/", "http://ü/"]
)
def test_a_webhook_takes_only_addresses_of_http(url):
    with pytest.raises(ConfigError, match="is not an address"):
        Webhook(context({"url": url}))


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="holds a password") as caught:
        Webhook(context({"url": "https://ann:5ecret@example.com/"}))
    assert "5ecret" not in str(caught.value)


def test_slack_gets_text_in_which_no_name_is_markup():
    body = msgspec.json.decode(encode(ALERT, "slack"))
    assert "*flights*: degradation firing" in body["text"]
    assert "&lt;check&gt; what moved &amp; why: größer." in body["text"]
    assert "<http://127.0.0.1:8090/models/flights|Open the dashboard>" in body["text"]
    assert body["blocks"][0]["text"]["text"] == body["text"]
    long = msgspec.structs.replace(ALERT, summary="x" * 9000)
    assert len(msgspec.json.decode(encode(long, "slack"))["text"]) < 3000  # the limit of a section


# The library of the SMTP server does not see that its socket is encrypted from the beginning.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_email_is_encrypted_and_signed_in(security, tmp_path):
    with mail_box(tmp_path, security=security) as box:
        settings = {"server": "127.0.0.1", "port": box.port, "security": security, "ca": box.ca, "user": USER}
        settings |= {"sender": "headway@example.com", "recipients": ("ops@example.com", "ann@example.com")}
        Email(context(settings, PASSWORD=PASSWORD)).send(ALERT)
        with pytest.raises(DeliveryFailed, match="does not accept the user or the password"):
            Email(context(settings, PASSWORD="wrong")).send(ALERT)
        untrusting = {name: value for name, value in settings.items() if name != "ca"}
        with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1 cannot be trusted"):
            Email(context(untrusting, PASSWORD=PASSWORD)).send(ALERT)
    (mail,) = box.mails
    assert box.encrypted == [True]
    assert mail["Subject"] == "[headway] flights: degradation firing"
    assert mail["Message-ID"] == f"<{ALERT.id}@example.com>" and mail["To"] == "ops@example.com, ann@example.com"
    assert "größer." in mail.get_content() and ALERT.link in mail.get_content()


def test_an_email_that_one_recipient_does_not_get_has_failed(tmp_path):
    with mail_box(tmp_path, security="none") as box:
        box.refused = ("ann@example.com",)
        settings = {"server": "127.0.0.1", "port": box.port, "security": "none", "sender": "headway@example.com"}
        with pytest.raises(DeliveryFailed, match=r"refuses ann@example\.com"):
            Email(context({**settings, "recipients": ("ops@example.com", "ann@example.com")})).send(ALERT)
        with pytest.raises(DeliveryFailed, match="refuses every recipient"):
            Email(context({**settings, "recipients": ("ann@example.com",)})).send(ALERT)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"security": "none", "server": "mail.example.com"}, "must be encrypted"),
        ({"sender": "ann"}, "'ann' is not an e-mail address"),
        ({"recipients": ("a@b\r\nBcc: c@d",)}, "is not an e-mail address"),
        ({"user": "ann"}, "no password is known for ann"),
        ({"ca": "no-such.pem"}, "the file of authorities cannot be read: No such file"),
        ({"password": "5ecret"}, "unknown field `password`"),
    ],
)
def test_settings_of_an_email_that_would_not_be_safe_are_refused(changed, message):
    settings = {"server": "127.0.0.1", "sender": "a@example.com", "recipients": ("b@example.com",), **changed}
    with pytest.raises(ConfigError, match=message):
        Email(context(settings))


def test_a_command_gets_json_and_its_arguments_as_they_are(tmp_path):
    copy = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    Command(context({"command": (sys.executable, "-c", copy, "$HOME; touch b")}, tmp_path)).send(ALERT)
    (written,) = tmp_path.iterdir()
    assert written.name == "$HOME; touch b"
    assert msgspec.json.decode(written.read_bytes())["id"] == ALERT.id


def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(command_module, "TIMEOUT_S", 0.5)
    script = "sleep 600 & echo $! > child; wait"
    with pytest.raises(DeliveryFailed, match=r"sh did not end within 0\.5 s"):
        Command(context({"command": ("sh", "-c", script)}, tmp_path)).send(ALERT)
    child = int((tmp_path / "child").read_text())

    def is_gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"

    until(is_gone)


def test_a_program_that_is_not_there_is_a_failed_delivery(tmp_path):
    with pytest.raises(DeliveryFailed, match="no-such-program cannot be run: No such file"):
        Command(context({"command": ("no-such-program",)}, tmp_path)).send(ALERT)
