"""A small S3 server of our own, over HTTP on this machine: what SeaweedFS cannot be asked to do wrong, this one does.

It keeps objects in memory, with versions if asked, and can ignore the header of conditional writes, answer errors,
break connections, or hang.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000


@dataclass
class Stored:
    """A version of an object; content None is a marker of its deletion."""

    content: bytes | None
    metadata: dict[str, str] = field(default_factory=dict)
    number: str = "null"

    @property
    def etag(self) -> str:
        return hashlib.md5(self.content or b"").hexdigest()


class SmallS3(ThreadingHTTPServer):
    """The server; `objects` maps `bucket/key` to its versions, the current one last."""

    daemon_threads = True
    request_queue_size = 1024  # more than all clients of a test connect at once

    def __init__(self, *, conditional: bool, versioned: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.conditional, self.versioned = conditional, versioned
        self.objects: dict[str, list[Stored]] = {}
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.requests: list[str] = []
        self.fault: Callable[[_Handler], bool] = lambda _: False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client finds the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": "ada",
            "AWS_SECRET_ACCESS_KEY": "t0p/s3cret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def current(self) -> dict[str, Stored]:
        """Return the objects that are there, by their keys with the bucket."""
        with self.lock:
            return {
                key: versions[-1] for key, versions in sorted(self.objects.items()) if versions[-1].content is not None
            }

    def store(self, name: str, stored: Stored) -> None:
        """Keep a version; without versions it replaces the last."""
        stored.number = f"v{next(self.numbers)}" if self.versioned else "null"
        self.objects[name] = [*self.objects.get(name, []), stored] if self.versioned else [stored]


@contextmanager
def small_s3(*, conditional: bool = True, versioned: bool = False) -> Iterator[SmallS3]:
    """Start a server, which ends with the block."""
    server = SmallS3(conditional=conditional, versioned=versioned)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallS3

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client went away
            self.close_connection = True

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length or self._is_faulty():
            self.close_connection = True
            return
        marks = {key[11:]: value for key, value in self.headers.items() if key.lower().startswith("x-amz-meta-")}
        with self.server.lock:
            last = self.server.objects.get(self._name, [Stored(None)])[-1]
            there, wanted = last.content is not None, self.headers["If-Match"]
            exists = there and self.headers["If-None-Match"] == "*"
            changed = wanted is not None and not (there and wanted.strip('"') == last.etag)
            if (exists or changed) and self.server.conditional:
                self.fail(412, "PreconditionFailed")
                return
            stored = Stored(content, marks)
            self.server.store(self._name, stored)
        self._answer(200, headers={"ETag": f'"{stored.etag}"'})

    def do_GET(self) -> None:
        if self._is_faulty():
            return
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "versioning" in query:
            status = "<Status>Enabled</Status>" if self.server.versioned else ""
            self._answer(200, f"<VersioningConfiguration>{status}</VersioningConfiguration>".encode())
        elif "versions" in query:
            self._list_versions(query.get("prefix", [""])[0])
        elif "list-type" in query:
            self._list(query)
        else:
            self._object(with_content=True)

    def do_HEAD(self) -> None:
        if not self._is_faulty():
            self._object(with_content=False)

    def do_DELETE(self) -> None:
        if self._is_faulty():
            return
        number = parse_qs(urlsplit(self.path).query).get("versionId", [""])[0]
        with self.server.lock:
            versions = self.server.objects.get(self._name, [])
            if number:
                versions = [found for found in versions if found.number != number]
            elif self.server.versioned:
                versions = [*versions, Stored(None, number=f"v{next(self.server.numbers)}")]
            else:
                versions = []
            self.server.objects[self._name] = versions
            if not versions:
                del self.server.objects[self._name]
        self._answer(204)

    @property
    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/")

    def _is_faulty(self) -> bool:
        self.server.requests.append(f"{self.command} {self._name}")
        if self.server.fault(self):
            self.close_connection = True
            return True
        return False

    def _object(self, *, with_content: bool) -> None:
        found = self.server.current().get(self._name)
        if found is None:
            self.fail(404, "NoSuchKey")
            return
        headers = {f"x-amz-meta-{key}": value for key, value in found.metadata.items()}
        headers |= {"ETag": f'"{found.etag}"', "Last-Modified": formatdate(usegmt=True)}
        self._answer(200, found.content or b"", headers=headers, with_content=with_content)

    def _list(self, query: dict[str, list[str]]) -> None:
        bucket, prefix = self._name.strip("/"), query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        start = f"{bucket}/{prefix}"
        keys = {key[len(bucket) + 1 :]: found for key, found in self.server.current().items() if key.startswith(start)}
        page = [key for key in sorted(keys) if key > after][: PAGE + 1]
        rows = "".join(
            f"<Contents><Key>{quote(key)}</Key><Size>{len(keys[key].content or b'')}</Size>"
            f"<ETag>&quot;{keys[key].etag}&quot;</ETag></Contents>"
            for key in page[:PAGE]
        )
        more = len(page) > PAGE
        token = f"<NextContinuationToken>{escape(page[PAGE - 1])}</NextContinuationToken>" if more else ""
        head = f"<IsTruncated>{str(more).lower()}</IsTruncated><EncodingType>url</EncodingType>"
        self._answer(200, f"<ListBucketResult>{head}{token}{rows}</ListBucketResult>".encode())

    def _list_versions(self, prefix: str) -> None:
        bucket = self._name.strip("/")
        rows = ""
        with self.server.lock:
            for key, versions in sorted(self.server.objects.items()):
                for found in versions if key.startswith(f"{bucket}/{prefix}") else ():
                    kind = "Version" if found.content is not None else "DeleteMarker"
                    size = f"<Size>{len(found.content)}</Size>" if found.content is not None else ""
                    last = str(found is versions[-1]).lower()
                    rows += f"<{kind}><Key>{quote(key[len(bucket) + 1 :])}</Key><VersionId>{found.number}</VersionId>"
                    rows += f"<IsLatest>{last}</IsLatest>{size}</{kind}>"
        head = "<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
        self._answer(200, f"<ListVersionsResult>{head}{rows}</ListVersionsResult>".encode())

    def fail(self, status: int, code: str) -> None:
        self._answer(
            status, f"<Error><Code>{code}</Code><Message>{self.headers['Authorization']}</Message></Error>".encode()
        )

    def _answer(
        self, status: int, content: bytes = b"", *, headers: dict[str, str] | None = None, with_content: bool = True
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content and self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass
