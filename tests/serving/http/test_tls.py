"""TLS: certificates of servers and clients, reloaded while serving."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from chat_server import chat_server
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from running import Peer, Running, body_of, loaded, request, serving

from headway.core.config import Config
from headway.core.errors import ConfigError, StoreError
from headway.evaluation.settings.answer import RemoteStage
from headway.serving.answering.remote import NoRemoteAnswer, RemoteAnswers, RemoteInput
from headway.serving.answering.spend import DailySpend
from headway.serving.client import Client
from headway.serving.grpc.transport import open_grpc
from headway.serving.http.connection import ConnectionLimits
from headway.serving.http.tls import TlsContext, tls_from_config
from headway.serving.settings.serve import ServeSection

SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
INFER = request(body=body_of([1, 2, 6]))


class Issuer:
    """A certificate authority for a test, with its certificate in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = generate_private_key(SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, ca=True).public_bytes(Encoding.PEM))

    def issue(self, name: str, *, password: bytes = b"") -> tuple[Path, Path]:
        """Return the files of a certificate for localhost and of its key."""
        key = generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, ca=False).public_bytes(Encoding.PEM))
        hidden = BestAvailableEncryption(password) if password else NoEncryption()
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
        return certificate, file

    def _signed(self, subject: x509.Name, key: EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=1),
        )
        for extension in (
            x509.SubjectAlternativeName([x509.DNSName("localhost")]),
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        ):
            builder = builder.add_extension(extension, critical=False)
        if ca:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            builder = builder.add_extension(SIGNS, critical=True)
        return builder.sign(self._key, hashes.SHA256())


class Secured(Peer):
    """A client over TLS that sends exact bytes."""

    def __init__(self, server: Running, issuer: Issuer, own: tuple[Path, Path] | None = None) -> None:
        context = ssl.create_default_context(cafile=issuer.file)
        if own:
            context.load_cert_chain(*own)
        plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self._stream = self.socket.makefile("rb")

    @property
    def met(self) -> str:
        """The name of the server in its certificate."""
        return self.socket.getpeercert()["subject"][0][0][1]


def received(peer: Peer) -> bytes:
    """Return what a client receives first; nothing if it is disconnected."""
    with suppress(OSError):  # a reset, or an alert
        return peer.socket.recv(1000)
    return b""


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


def test_requests_are_answered_over_tls(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server:
        assert server.address.startswith("https://127.0.0.1:")
        with Secured(server, issuer) as peer:
            peer.send_bytes(INFER * 3)
            assert [peer.read_answer().values for _ in range(3)] == [[3.0]] * 3
            assert peer.send_bytes(request("/v2", headers=["Connection: close"])).read_answer().status == 200
            assert peer.closed()


def test_the_headway_client_works_over_tls(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server:
        with Client(f"https://localhost:{server.port}", ca=str(issuer.file)) as client:
            assert client.infer("flights", {"a": [1], "b": [2], "c": [6]}).tolist() == [[3.0]]
        with Client(f"https://localhost:{server.port}") as stranger, pytest.raises(StoreError, match="certificate"):
            stranger.infer("flights", {"a": [1]})


@pytest.mark.services
def test_curl_works_over_tls(issuer, tmp_path):
    curl = shutil.which("curl")
    assert curl, "tools/system services installs curl"
    (tmp_path / "body").write_bytes(body_of([1, 2, 6]))
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server:
        url = f"https://localhost:{server.port}/v2/models/flights/infer"
        command = [curl, "-sS", "--cacert", issuer.file, "-d", f"@{tmp_path / 'body'}", url]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    assert '"data":[3.0]' in answer


def test_a_refused_client_over_tls_can_read_the_error_and_is_disconnected_if_it_stays(issuer):
    limits = ConnectionLimits(body_bytes=100)
    tls = TlsContext(*issuer.issue("server"))
    with serving(loaded(), limits=limits, tls=tls) as server, Secured(server, issuer) as peer:
        server.stop_clock()
        assert peer.send_bytes(request(body=b"x" * 101)).read_answer().status == 413
        server.later(21)
        with pytest.raises(OSError):
            for _ in range(1_000_000):
                peer.send_bytes(b"x" * 1000)


def test_plain_http_gets_no_answer_from_a_tls_server(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server, Peer(server) as peer:
        assert b"HTTP/" not in received(peer.send_bytes(INFER))


@pytest.mark.slow
def test_a_handshake_has_a_time_limit(issuer):
    tls = TlsContext(*issuer.issue("server"))
    with serving(loaded(), limits=ConnectionLimits(request_s=0.1), tls=tls) as server, Peer(server) as peer:
        assert peer.closed()


@contextmanager
def over_grpc(server: Running, issuer: Issuer, own: tuple[Path, Path] | None = None) -> Iterator[Callable[[], bytes]]:
    """Yield a gRPC liveness check, as a client that trusts the issuer and may present a certificate."""
    grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
    shown = {"private_key": own[1].read_bytes(), "certificate_chain": own[0].read_bytes()} if own else {}
    trusts = grpc.ssl_channel_credentials(issuer.file.read_bytes(), **shown)
    with grpc.secure_channel(f"localhost:{grpc_server.address.rpartition(':')[2]}", trusts) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        yield lambda: ask(b"", timeout=60)
    grpc_server.close(1)


def test_grpc_uses_tls_with_the_current_certificate(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server, over_grpc(server, issuer) as ask:
        assert ask() == b"\x08\x01"


def test_grpc_rejects_a_caller_without_a_required_certificate(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"), issuer.file)) as server:
        with over_grpc(server, issuer, issuer.issue("caller")) as ask:
            assert ask() == b"\x08\x01"
        with over_grpc(server, issuer) as ask, pytest.raises(grpc.RpcError) as error:
            ask()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def handshake(server: Running, issuer: Issuer, version: ssl.TLSVersion, ciphers: str = "DEFAULT") -> str:
    """Return the protocol and the cipher that a client of this version agrees on with the server."""
    context = ssl.create_default_context(cafile=issuer.file)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        name, protocol, _ = client.cipher()
        return f"{protocol} {name}"


@pytest.mark.parametrize(
    ("profile", "ciphers", "agreed"),
    [
        ("modern", "DEFAULT", ""),
        ("intermediate", "DEFAULT", "TLSv1.2 ECDHE-ECDSA-"),
        ("intermediate", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("intermediate", "ECDHE-ECDSA-AES256-SHA", ""),  # CBC
        ("intermediate", "AES256-GCM-SHA384", ""),  # no forward secrecy
        ("intermediate", "DHE-RSA-AES256-GCM-SHA384", ""),
    ],
)
def test_tls_1_2_needs_the_intermediate_profile_and_one_of_its_ciphers(issuer, profile, ciphers, agreed):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"), profile=profile)) as server:
        assert handshake(server, issuer, ssl.TLSVersion.TLSv1_3).startswith("TLSv1.3 ")
        if agreed:
            assert handshake(server, issuer, ssl.TLSVersion.TLSv1_2, ciphers).startswith(agreed)
        else:
            with pytest.raises((ssl.SSLError, OSError)):
                handshake(server, issuer, ssl.TLSVersion.TLSv1_2, ciphers)


@pytest.mark.parametrize(
    ("ciphers", "accepted"), [("ECDHE-ECDSA-AES128-GCM-SHA256", True), ("ECDHE-ECDSA-AES256-SHA", False)]
)
def test_grpc_accepts_tls_1_2_with_authenticated_ciphers_only(issuer, ciphers, accepted):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"))) as server:
        grpc_server = open_grpc(server.inside, "127.0.0.1", 0)
        address = Running(grpc_server.address, server.loop, server.plane, server.listener)
        if accepted:
            assert handshake(address, issuer, ssl.TLSVersion.TLSv1_2, ciphers) == f"TLSv1.2 {ciphers}"
        else:
            with pytest.raises((ssl.SSLError, OSError)):
                handshake(address, issuer, ssl.TLSVersion.TLSv1_2, ciphers)
        grpc_server.close(1)


def test_a_client_certificate_is_required_only_if_configured(issuer):
    with serving(loaded(), tls=TlsContext(*issuer.issue("server"), issuer.file)) as server:
        with Secured(server, issuer, issuer.issue("caller")) as peer:
            assert peer.send_bytes(INFER).read_answer().values == [3.0]
        with suppress(OSError), Secured(server, issuer) as peer:
            assert not received(peer.send_bytes(INFER))


def test_a_new_certificate_is_used_for_new_connections_and_an_invalid_one_is_not(issuer, tmp_path, caplog):
    first, second = issuer.issue("first"), issuer.issue("second")
    certificate, key = tmp_path / "live.crt", tmp_path / "live.key"
    put = {certificate: first[0], key: first[1]}
    for file, content in put.items():
        shutil.copy(content, file)
    with serving(loaded(), tls=TlsContext(certificate, key)) as server, Secured(server, issuer) as before:
        assert before.met == "first"
        for file, content, met in ((certificate, second[0], "first"), (key, second[1], "second")):
            shutil.copy(content, tmp_path / "new")
            os.replace(tmp_path / "new", file)
            server.later(0)
            with Secured(server, issuer) as peer:
                assert (peer.met, peer.send_bytes(INFER).read_answer().values) == (met, [3.0])
        certificate.unlink()
        server.later(0)
        assert before.send_bytes(INFER).read_answer().values == [3.0]
    assert caplog.text.count("kept the previous certificate") == 2


def no_files(issuer: Issuer) -> tuple[Path, ...]:
    return issuer.file, issuer.file.with_name("none.key")


def of_another(issuer: Issuer) -> tuple[Path, ...]:
    return issuer.issue("one")[0], issuer.issue("two")[1]


def with_password(issuer: Issuer) -> tuple[Path, ...]:
    return issuer.issue("one", password=b"secret")


def with_a_ca_that_is_none(issuer: Issuer) -> tuple[Path, ...]:
    certificate, key = issuer.issue("one")
    return certificate, key, key


@pytest.mark.parametrize("files", [no_files, of_another, with_password, with_a_ca_that_is_none])
def test_invalid_tls_files_are_an_error_at_start(issuer, files: Callable[..., tuple]):
    with pytest.raises(ConfigError, match="cannot use these files for TLS") as error:
        TlsContext(*files(issuer))
    assert "[serve] tls_" in error.value.where


def test_the_tls_files_are_those_of_the_settings(issuer, tmp_path):
    certificate, key = issuer.issue("server")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    config = Config(folder=str(tmp_path))
    assert tls_from_config(config) is None
    for files in ({"tls_certificate": "server.crt", "tls_key": "server.key"}, {"tls_certificate": "both.pem"}):
        for ca in ("", "ca.pem"):
            tls = tls_from_config(config.having(ServeSection(**files, tls_client_ca=ca)))
            assert (tls.context.verify_mode == ssl.CERT_REQUIRED) is bool(ca)


@pytest.mark.parametrize("files", [{"tls_key": "a"}, {"tls_client_ca": "a"}])
def test_a_key_without_a_certificate_is_an_error(files):
    with pytest.raises(ConfigError, match="without a certificate"):
        tls_from_config(Config(ServeSection(**files)))


def test_the_remote_stage_asks_over_tls_and_no_server_that_is_not_trusted(issuer, tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*issuer.issue("server"))
    with chat_server(context) as server:
        server.says("refund")
        stage = RemoteStage(url=server.url, model="small")
        spend = DailySpend(tmp_path, cost_per_call=0.0, cap_per_day=0.0)
        trusting = RemoteAnswers(stage, spend, trusted=str(issuer.file))
        assert asyncio.run(trusting.ask(RemoteInput("my money", {}, ""), ["refund"])).class_name == "refund"
        with pytest.raises(NoRemoteAnswer) as error:
            asyncio.run(RemoteAnswers(stage, spend).ask(RemoteInput("my money", {}, ""), ["refund"]))
    assert error.value.code == "unreachable" and server.requests.qsize() == 1
