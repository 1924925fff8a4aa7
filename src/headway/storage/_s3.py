"""Objects under an address `s3://bucket/prefix`: the one S3 client of blobs, releases and log segments.

boto3 finds server and credentials as everywhere: variables (`AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`, ...), its
files, or the role of the machine. Messages name the address and the server's error code, never what a server or library
wrote: that may repeat what must not be shown.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import msgspec
from botocore.config import Config as ClientConfig

from headway.core.errors import ConfigError, StoreError, StoreUnavailable
from headway.storage import atomic

CHECKED = "checked_stores.json"
_CONNECT_S, _READ_S, _ATTEMPTS = 3.0, 15.0, 4
_MAX_BYTES = 5 << 30
_WRITER = "headway-writer"
_CONFLICT_TRIES, _CONFLICT_PAUSE_S = 20, 0.05
_BROKEN = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)
_BUSY = ("500", "502", "503", "504")
_ABSENT = ("404", "NoSuchKey", "NotFound")
_MAKING: dict[int, threading.Lock] = {}
"""A lock for each process: a fork in the middle of making a client would leave a shared one locked for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """An object as a listing shows it: its key below the address, its size, and the tag of its content."""

    key: str
    size_bytes: int
    etag: str


class Bucket:
    """The objects whose keys begin with the prefix of an address.

    Requests are bounded in time, and repeated a few times where the server or the connection failed. An object is
    there completely or not at all. Several threads and forked processes may use one bucket.
    """

    def __init__(self, address: str, *, role: str = "blobs", timeout_s: float = _READ_S) -> None:
        self.address = address.rstrip("/")
        self._name, self._prefix = _parts(address)
        self._role = role
        self._timeout_s = timeout_s

    @property
    def _client(self) -> Any:
        """The client of this process: one that was forked must not share the connections of its parent."""
        environment = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("AWS_")))
        process = os.getpid()
        with _MAKING.setdefault(process, threading.Lock()):  # of threads that come first, one makes it
            return _client_of(process, self._timeout_s, environment)

    @property
    def server(self) -> str:
        """The server, as `http://host:port`."""
        url = urlsplit(str(self._client.meta.endpoint_url))
        return f"{url.scheme}://{url.hostname}{f':{url.port}' if url.port else ''}"

    @property
    def read_options(self) -> dict[str, str]:
        """Server and region for polars, which reads objects by their address with the credentials that boto3 finds."""
        plain = self.server.startswith("http://")
        region = str(self._client.meta.region_name)
        return {"aws_endpoint_url": self.server, "aws_region": region, "aws_allow_http": str(plain).lower()}

    def create(self, key: str, content: bytes, *, metadata: Mapping[str, str] | None = None) -> bool:
        """Create an object; return False, and change nothing, if one with this key exists."""
        return self._put_if(key, content, metadata, IfNoneMatch="*")

    def replace(self, key: str, content: bytes, *, etag: str) -> bool:
        """Replace an object; return False, and change nothing, unless it still has this tag."""
        return self._put_if(key, content, None, IfMatch=f'"{etag}"')

    def _put_if(self, key: str, content: bytes, metadata: Mapping[str, str] | None, **condition: str) -> bool:
        """Write an object if a condition holds.

        If an answer was lost and the request repeated, a mark of the object shows whether this call wrote it.
        """
        writer = secrets.token_hex(8)
        marks = {**(metadata or {}), _WRITER: writer}
        with self._errors(key):
            try:
                self._put(key, content, marks, **condition)
            except botocore.exceptions.ClientError as error:
                if _code(error) not in ("PreconditionFailed", "412", *_ABSENT):
                    raise
                repeated = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
                return bool(repeated) and (self.metadata(key) or {}).get(_WRITER) == writer
        return True

    def put(self, key: str, content: bytes, *, metadata: Mapping[str, str] | None = None) -> None:
        """Create or replace an object."""
        with self._errors(key):
            self._put(key, content, dict(metadata or {}))

    def upload(self, key: str, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
        """Create or replace an object by a file of any size, sent in parts; it appears when all of them are there."""
        with self._errors(key), path.open("rb") as file:
            self._client.upload_fileobj(
                file, self._name, self._prefix + key, ExtraArgs={"Metadata": dict(metadata or {})}
            )
        found = self.head(key)
        if found is None or found.size_bytes != path.stat().st_size:
            raise StoreError("an object is not the file that was stored", where=self._where(key), hint="store it again")

    def get(self, key: str) -> bytes | None:
        """Return the content of an object; None if there is none."""
        with self._errors(key):
            for _ in range(_ATTEMPTS - 1):
                with suppress(*_BROKEN):  # within the content, where boto3 repeats nothing
                    return self._read(key)
            return self._read(key)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object without its content; None if there is none."""
        answer = self._head(key)
        if answer is None:
            return None
        return ObjectInfo(key=key, size_bytes=answer["ContentLength"], etag=answer["ETag"].strip('"'))

    def metadata(self, key: str) -> dict[str, str] | None:
        """Return the metadata of an object; None if there is none."""
        answer = self._head(key)
        return None if answer is None else dict(answer["Metadata"])

    def etag_and_age_s(self, key: str) -> tuple[str, float] | None:
        """Return the tag of an object, and its age by the clock of the server; None if there is none."""
        answer = self._head(key)
        if answer is None:
            return None
        stated = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        now = datetime.strptime(stated, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC) if stated else datetime.now(UTC)
        return answer["ETag"].strip('"'), (now - answer["LastModified"]).total_seconds()

    def objects(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with a prefix, in the order of their keys."""
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._name, Prefix=self._prefix + prefix):
                for found in page.get("Contents", ()):
                    key = found["Key"][len(self._prefix) :]
                    yield ObjectInfo(key=key, size_bytes=found["Size"], etag=found["ETag"].strip('"'))

    def delete(self, *keys: str) -> None:
        """Delete objects, with all of their versions where the bucket has versions."""
        for key in keys:
            with self._errors(key):
                if self.versioned:
                    self._delete_versions(key, lambda _: True)
                else:
                    self._client.delete_object(Bucket=self._name, Key=self._prefix + key)

    def delete_old_versions(self, prefix: str = "") -> int:
        """Delete all versions of objects that were replaced or deleted, by name; return how many.

        The current version of an object stays.
        """
        if not self.versioned:
            return 0
        with self._errors(prefix):
            return self._delete_versions(prefix, lambda found: not found.get("IsLatest") or "Size" not in found)

    @functools.cached_property
    def versioned(self) -> bool:
        """Whether the bucket has, or had, versions: objects that are replaced or deleted are kept there."""
        with self._errors(""):
            return bool(self._client.get_bucket_versioning(Bucket=self._name).get("Status"))

    def require_conditional_writes(self, state: Path) -> None:
        """Raise StoreError unless the server refuses to create an object twice; checked once an address.

        Some servers accept the header and ignore it: then two writers could both believe that they were first.
        """
        file, name = state / CHECKED, f"{self.address} at {self.server}"
        checked = _checked(file)
        if name in checked:
            return
        key = f".headway-check-{secrets.token_hex(8)}"
        try:
            first, second = self.create(key, b"first"), self.create(key, b"second")
            content = self.get(key)
        finally:
            self.delete(key)
        if (first, second, content) != (True, False, b"first"):
            raise StoreError(
                "this S3 server ignores conditional writes (If-None-Match), so one writer could replace what another "
                "has just created",
                where=name,
                hint="a server that honors them: Amazon S3, or SeaweedFS 4 and later",
            )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        atomic.write(file, msgspec.json.encode({**_checked(file), name: at}))

    def _read(self, key: str) -> bytes | None:
        try:
            answer = self._client.get_object(Bucket=self._name, Key=self._prefix + key)
        except botocore.exceptions.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        return bytes(answer["Body"].read())

    def _put(self, key: str, content: bytes, metadata: Mapping[str, str], **condition: str) -> None:
        if len(content) > _MAX_BYTES:
            raise StoreError(f"{len(content):,} bytes are more than one object of S3 can have", where=self._where(key))
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._client.put_object(
                    Bucket=self._name,
                    Key=self._prefix + key,
                    Body=content,
                    ContentMD5=digest,
                    Metadata=dict(metadata),
                    **condition,
                )
            except botocore.exceptions.ClientError as error:
                if _code(error) != "ConditionalRequestConflict" or attempt == _CONFLICT_TRIES - 1:
                    raise
                time.sleep(_CONFLICT_PAUSE_S)  # another writer is at it, and neither has won yet
            else:
                return

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._errors(key):
            try:
                found: dict[str, Any] = self._client.head_object(Bucket=self._name, Key=self._prefix + key)
            except botocore.exceptions.ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return found

    def _delete_versions(self, prefix: str, chosen: Callable[[Mapping[str, Any]], bool]) -> int:
        """Delete the chosen versions and markers of objects whose keys begin with a prefix."""
        pages = self._client.get_paginator("list_object_versions")
        found = [
            (entry["Key"], entry["VersionId"])
            for page in pages.paginate(Bucket=self._name, Prefix=self._prefix + prefix)
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if chosen(entry)
        ]
        for key, version in found:
            self._client.delete_object(Bucket=self._name, Key=key, VersionId=version)
        return len(found)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Raise StoreError for an error of the library, StoreUnavailable if the server does not answer at present."""
        try:
            yield
        except botocore.exceptions.ClientError as error:
            what = f"the S3 server answered {_status(error)} ({_code(error)})"
            hint = _HINTS.get(_code(error)) or _HINTS.get(_status(error), _AWAY)
            if _status(error) in _BUSY:
                raise StoreUnavailable(what, role=self._role, where=self._where(key), hint=hint) from None
            raise StoreError(what, where=self._where(key), hint=hint) from None
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError):
            raise StoreError("no credentials for S3", where=self._where(key), hint=_CREDENTIALS) from None
        except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError) as error:
            what = f"the S3 server does not answer ({type(error).__name__})"
            where = f"{self._where(key)} at {self.server}"
            raise StoreUnavailable(what, role=self._role, where=where, hint=_AWAY) from None
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            what = f"S3 cannot be used ({type(error).__name__})"
            raise StoreError(what, where=self._where(key), hint=_CREDENTIALS) from None

    def _where(self, key: str) -> str:
        return f"{self.address}/{key}".rstrip("/")


_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials; AWS_ENDPOINT_URL_S3 names the server"
)
_AWAY = "check AWS_ENDPOINT_URL_S3, and that the server runs"
_HINTS = {
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "403": "this user must be allowed to read, write, list and delete objects there",
    "404": "create the bucket",
    "501": "a server that honors If-None-Match: Amazon S3, or SeaweedFS 4 and later",
}


@functools.lru_cache(maxsize=4)
def _client_of(process: int, timeout_s: float, environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001
    """Return the client of a process for these variables; making one takes 0.3 s."""
    config = ClientConfig(
        connect_timeout=min(_CONNECT_S, timeout_s),
        read_timeout=timeout_s,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=32,
        # other servers than Amazon's do not know its newer checksums; contents are sent with their MD5
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session()
    return session.client("s3", config=config, region_name=session.region_name or "us-east-1")


def _parts(address: str) -> tuple[str, str]:
    """Return bucket and prefix of an address; raises ConfigError for one of another form, or with a password."""
    url = urlsplit(address)
    if "@" in url.netloc:
        raise ConfigError("an address of S3 has no user or password in it", where="s3://...", hint=_CREDENTIALS)
    if url.scheme != "s3" or not url.netloc or url.query or url.fragment:
        raise ConfigError(f"{address!r} is not an address of S3", hint="s3://bucket/prefix")
    prefix = url.path.strip("/")
    return url.netloc, f"{prefix}/" if prefix else ""


def _code(error: botocore.exceptions.ClientError) -> str:
    """Return the server's code of an error, such as NoSuchKey; the status where an answer has no content."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: botocore.exceptions.ClientError) -> str:
    return str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def _checked(file: Path) -> dict[str, str]:
    """Return when each store was checked; none if the file is absent or damaged, which repeats the check."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}
