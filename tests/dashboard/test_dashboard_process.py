"""The process of the dashboard: its address, TLS, signals, and as a child of a server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.house.source_tree import ROOT
from tests.serving.running import project

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.dashboard.listening import address_of, listen
from headway.monitoring.settings.ui import UiSection

PATIENCE_S = 60.0


def until(find: Callable[[], object]) -> object:
    """Return what a function finds once it finds something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := find()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    command = [sys.executable, "-c", "from headway.cli.main import main; main()", *words]
    around = {**clean, "PYTHONPATH": str(ROOT / "tests/outside"), "HEADWAY_UI_PORT": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around) as process:
        try:
            yield process
        finally:
            process.kill()


def status(port: int, path: str = "/sign-in", tls: ssl.SSLContext | None = None) -> int:
    """Return the status of a page; 0 without an answer."""
    connection = (
        HTTPSConnection("localhost", port, timeout=5, context=tls)
        if tls
        else HTTPConnection("localhost", port, timeout=5)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def self_signed(file: Path) -> Path:
    """Write a certificate for localhost, which signs itself, and its key."""
    key = generate_private_key(SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return file


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_address_that_is_printed_answers_until_a_signal(empty_project, number, code):
    with started("ui", "--project", str(empty_project), "--json") as process:
        link = json.loads(process.stdout.readline())["sign_in"]
        port = int(re.search(r":(\d+)/sign-in/link\?secret=", link)[1])
        until(lambda: status(port) == 200)
        process.send_signal(number)
        assert (process.wait(PATIENCE_S), status(port)) == (code, 0)


@pytest.mark.slow
def test_a_server_starts_its_dashboard_again_and_ends_it(tmp_path):
    project(tmp_path)
    with started("serve", "flights@live", "--ui", "--json", "--project", str(tmp_path), "--port", "0") as process:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        first = json.loads(line)
        server, port = (int(one.rpartition(":")[2]) for one in (first["addresses"][0], first["dashboard"]))
        until(lambda: status(port) == 200)

        def dashboard() -> int:
            """Return the process that the dashboard's answers come from: the last child of the supervisor."""
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            return int(children[-1])

        before = dashboard()
        os.kill(before, signal.SIGKILL)
        until(lambda: dashboard() != before)
        until(lambda: status(port) == 200)
        assert status(server, "/v2/health/ready") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert (status(port), status(server)) == (0, 0)
        assert f"the dashboard (process {before}) ended by signal 9; it is restarted now" in process.stderr.read()


@pytest.mark.slow
def test_a_dashboard_ends_with_a_server_that_is_killed(tmp_path):
    project(tmp_path)
    with started("serve", "flights@live", "--ui", "--json", "--project", str(tmp_path), "--port", "0") as process:
        port = int(json.loads(process.stdout.readline())["dashboard"].rpartition(":")[2])
        until(lambda: status(port) == 200)
        process.kill()
        until(lambda: status(port) == 0)


@pytest.mark.slow
def test_a_server_whose_dashboard_cannot_start_is_refused(tmp_path):
    project(tmp_path)
    with (tmp_path / "headway.toml").open("a") as file:
        file.write('\n[ui]\ntls_certificate = "absent.pem"\n')
    with started("serve", "flights@live", "--ui", "--project", str(tmp_path), "--port", "0") as process:
        assert process.wait(PATIENCE_S) == 2
        assert "[ui] tls_certificate" in process.stderr.read()


@pytest.mark.slow
def test_a_server_without_a_dashboard_imports_nothing_of_it():
    code = (
        "import sys; from headway.core import plugins; plugins.load('command', 'serve');"
        "print([name for name in sys.modules if name.split('.')[0] in ('starlette', 'uvicorn', 'jinja2', 'argon2')"
        " or name.startswith('headway.dashboard')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_over_tls_a_browser_gets_the_page_and_a_cookie_for_tls_only(tmp_path, empty_project):
    certificate = self_signed(tmp_path / "server.pem")
    (tmp_path / "headway.toml").write_text(
        (empty_project / "headway.toml").read_text() + f'\n[ui]\ntls_certificate = "{certificate}"\n'
    )
    with started("ui", "--project", str(tmp_path), "--json") as process:
        link = json.loads(process.stdout.readline())["sign_in"]
        port = int(re.search(r"https://127.0.0.1:(\d+)/sign-in/link\?secret=(.*)", link)[1])
        trusting = ssl.create_default_context(cafile=certificate)
        until(lambda: status(port, tls=trusting) == 200)
        connection = HTTPSConnection("localhost", port, timeout=20, context=trusting)
        headers = {"Origin": f"https://localhost:{port}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in/link", f"secret={link.partition('secret=')[2]}", headers)
        cookie = connection.getresponse().getheader("set-cookie")
        connection.close()
        assert cookie.startswith("__Host-headway_session=") and "; Secure" in cookie
        assert status(port) == 0  # without TLS


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (UiSection(host="0.0.0.0", port=0), "hosts is empty"),
        (UiSection(host="0.0.0.0", port=0, hosts=("headway.example",)), "unencrypted"),
        (UiSection(host="0.0.0.0", port=0, url="http://headway.example"), "unencrypted"),
        (UiSection(port=0, url="http://headway.example"), "unencrypted"),
        (UiSection(port=0, url="headway.example"), "is not an address"),
        (UiSection(port=0, url="https://headway.example/path"), "is not an address"),
    ],
)
def test_an_unsafe_address_is_refused(settings, what):
    with pytest.raises(ConfigError, match=what):
        listen(Config(settings))


@pytest.mark.parametrize(
    "settings",
    [
        UiSection(host="0.0.0.0", port=0, hosts=("headway.example",), tls_certificate="server.pem"),
        UiSection(host="0.0.0.0", port=0, url="https://headway.example/"),
        UiSection(port=0, url="http://localhost:8090"),
        UiSection(port=0),
    ],
)
def test_a_safe_address_is_listened_to(settings):
    with listen(Config(settings)) as listening:
        port = listening.getsockname()[1]
        expected = {"": f"http://127.0.0.1:{port}", "server.pem": f"https://0.0.0.0:{port}"}[settings.tls_certificate]
        assert address_of(Config(settings), listening) == (settings.url.rstrip("/") or expected)


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen"):
        listen(Config(UiSection(port=taken.getsockname()[1])))
