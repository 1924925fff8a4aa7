"""Relay bytes to a server, with or without TLS, so that a load without TLS measures the cost of TLS in the server."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MOST = 1 << 16


def certificate(file: Path) -> Path:
    """Write a PEM file with a self-signed certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(today - timedelta(days=1)).not_valid_after(today + timedelta(days=1))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(MOST):
            writer.write(part)
    writer.close()


async def _serve(port: int, to: int, secured: ssl.SSLContext | None) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_connection("127.0.0.1", to, ssl=secured)
        await asyncio.gather(_hand_on(reader, asks), _hand_on(answers, writer))

    await (await asyncio.start_server(meet, "127.0.0.1", port)).serve_forever()


def main() -> None:
    """Relay connections at PORT to TO, over TLS if CERTIFICATE is set."""
    trusted = os.environ.get("CERTIFICATE")
    secured = ssl.create_default_context(cafile=trusted) if trusted else None
    if secured:
        secured.check_hostname = False
    uvloop.run(_serve(int(os.environ["PORT"]), int(os.environ["TO"]), secured))
