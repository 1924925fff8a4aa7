"""Ed25519 signatures: a publisher's key signs bytes, and a loader trusts a list of public keys.

The private key is a PEM file that only its owner can read. The trusted list is a text file with one key per line:
`ed25519:<base64 of the raw public key> <comment>`. Both lie outside the store. Signed bytes name their kind
(`core.record.write`), so a signature of one kind of record is never valid for another.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, Refused
from headway.core.record import Record, canonical, digest_of
from headway.storage import atomic

COPY_HINT = "do not use this copy: take it again from where it was published"
_KEY = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")
_OTHERS = 0o077 if os.name == "posix" else 0


class SignatureRecord(Record, frozen=True, kw_only=True):
    """A signature: the key, the digest of the signed bytes, and the signature in base64."""

    key: str
    digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class Publisher:
    """An opened private key."""

    private: Ed25519PrivateKey

    @property
    def key(self) -> str:
        """The public key that others trust: `ed25519:<base64>`."""
        return key_of(self.private.public_key())

    def sign(self, content: bytes) -> Signed:
        """Sign bytes; the same bytes always get the same signature."""
        signature = base64.b64encode(self.private.sign(content)).decode()
        return Signed(
            content=content,
            signature=canonical(SignatureRecord(key=self.key, digest=digest_of(content), signature=signature)),
        )


@dataclass(frozen=True, slots=True)
class Trusted:
    """The trusted public keys, each with its comment, and the file that lists them."""

    file: Path
    keys: Mapping[str, str]


def key_of(public: Ed25519PublicKey) -> str:
    """Return the text of a public key: `ed25519:<base64 of its 32 bytes>`."""
    return f"ed25519:{base64.b64encode(public.public_bytes_raw()).decode()}"


def create_publisher(file: Path) -> Publisher:
    """Create a key in a PEM file of mode 0600; raises ConfigError if the file exists, because keys are not replaced."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        atomic.secret(file, pem)
    except OSError as error:
        raise ConfigError(f"cannot make a publisher key: {error.strerror}", where=str(file)) from error
    return Publisher(private)


def load_publisher(file: Path) -> Publisher:
    """Load the key in a PEM file.

    Raises ConfigError if it is absent, not an Ed25519 key, or readable by other users.
    """
    try:
        pem = file.read_bytes()
        shared = file.stat().st_mode & _OTHERS
    except OSError as error:
        raise ConfigError(
            f"no publisher key: {error.strerror}",
            where=str(file),
            hint="headway release makes one; to use yours, set publisher_key in [trust]",
        ) from error
    if shared:
        raise ConfigError("other users can read the publisher key", where=str(file), hint=f"chmod 600 {file}")
    return Publisher(_private(pem, file))


def _private(pem: bytes, file: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the publisher key cannot be opened: {error}", where=str(file)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError("the publisher key is not an Ed25519 key", where=str(file))
    return key


def load_trusted(file: Path) -> Trusted:
    """Load the keys of a trusted list, none if the file is absent; raises ConfigError, which names an invalid line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the trusted keys cannot be read: {error}", where=str(file)) from error
    keys = {}
    for number, line in enumerate(lines, 1):
        key, _, comment = line.partition("#")[0].strip().partition(" ")
        if key:
            _public(key, where=f"{file}:{number}")
            keys[key] = comment.strip()
    return Trusted(file, keys)


def _public(key: str, *, where: str) -> Ed25519PublicKey:
    text = _KEY.fullmatch(key)
    raw = base64.b64decode(text[1]) if text else b""
    if text is None or base64.b64encode(raw).decode() != text[1]:
        raise ConfigError(f"{key!r} is not a key", where=where, hint="ed25519:<base64 of the raw public key> <comment>")
    return Ed25519PublicKey.from_public_bytes(raw)


def verify(signed: Signed, trusted: Trusted, *, subject: str, where: str = "") -> str:
    """Return the trusted key that signed these bytes.

    Raises Refused, which distinguishes a changed signature, changed bytes and an untrusted key.
    """
    seal = _read_seal(signed.signature, subject=subject, where=where)
    if seal.key not in trusted.keys:
        raise Refused(
            f"{subject} is signed by {seal.key}, which is not trusted",
            where=where,
            hint=f"if you know this publisher, add to {trusted.file} the line: {seal.key} <whose it is>",
        )
    same = digest_of(signed.content) == seal.digest
    good = _good(seal, signed.content)
    if not same and not good:
        raise Refused(f"{subject} was changed after {seal.key} signed it", where=where, hint=COPY_HINT)
    if not (same and good):
        raise _broken(subject, where)
    return seal.key


def _read_seal(content: bytes, *, subject: str, where: str) -> SignatureRecord:
    """Decode a signature record; it must be in canonical form, because another form could be changed unnoticed."""
    try:
        seal = msgspec.json.decode(content, type=SignatureRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _broken(subject, where) from error
    if canonical(seal) != content:
        raise _broken(subject, where)
    return seal


def _good(seal: SignatureRecord, content: bytes) -> bool:
    """Return True if the signature is valid and in canonical base64."""
    public = _public(seal.key, where="the seal")
    try:
        signature = base64.b64decode(seal.signature, validate=True)
        public.verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return base64.b64encode(signature).decode() == seal.signature


def _broken(subject: str, where: str) -> Refused:
    return Refused(f"the signature of {subject} was changed", where=where, hint=COPY_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetup:
    """The publisher's public key, whether it was created, and whether it was added to the trusted keys."""

    key: str
    created: bool
    pinned: bool


def init_keys(publisher_key: Path, trusted_keys: Path, *, comment: str) -> KeySetup:
    """Set up the keys of a machine for its first release: create the publisher key, and pin it as trusted.

    A trusted list that already holds keys is never extended; ConfigError gives the line to add.
    """
    atomic.sweep(publisher_key.parent)
    created = not publisher_key.exists()
    publisher = create_publisher(publisher_key) if created else load_publisher(publisher_key)
    trusted = load_trusted(trusted_keys)
    line = f"{publisher.key} {comment}"
    if trusted.keys and publisher.key not in trusted.keys:
        raise ConfigError(
            f"the publisher key of this machine, {publisher.key}, is not trusted here",
            where=str(trusted_keys),
            hint=f"ask the owner of that list to add the line: {line}",
        )
    if not trusted.keys:
        _pin(trusted_keys, line)
    return KeySetup(key=publisher.key, created=created, pinned=not trusted.keys)


def _pin(file: Path, line: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as keys:
            keys.write(f"\n{line}\n" if file.stat().st_size else f"{line}\n")
    except OSError as error:
        raise ConfigError(f"cannot pin the publisher key: {error.strerror}", where=str(file)) from error
