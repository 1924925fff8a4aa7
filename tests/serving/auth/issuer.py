"""An issuer of access tokens on this machine, for tests: its keys can be rotated, and it can be down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet

from headway.serving.auth.tokens import TokenVerifier, open_verifier, shared_keys
from headway.serving.settings.oidc import OidcSection
from headway.serving.workers.shared_memory import SharedDocument

AUDIENCE = "headway"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/keys"


class Issuer:
    """Serves its discovery document and its keys; `answers` replaces what a path is answered with."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.down = False
        self.requests: list[str] = []
        self.answers: dict[str, Callable[[], tuple[int, bytes]]] = {DISCOVERY: self._discovery, KEYS: self._keys}
        self.rotate()

    def rotate(self) -> None:
        """Publish a new signing key instead of the present one."""
        self.key = ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True)
        self.published: list[Key] = [self.key]

    def token(self, *, key: Key | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token for the audience of the tests.

        A claim that is None is left out, and a time that is an integer is relative to now.
        """
        now = time.time()
        found = {"iss": self.url, "aud": AUDIENCE, "sub": "shop", "scope": "predict label", "exp": now + 600, **claims}
        head = {"alg": "ES256", "kid": self.key.kid, **(header or {})}
        found |= {name: now + claims[name] for name in ("exp", "nbf", "iat") if isinstance(claims.get(name), int)}
        present = {name: value for name, value in found.items() if value is not None}
        return jwt.encode(
            {name: value for name, value in head.items() if value}, present, key or self.key, [head["alg"]]
        )

    def settings(self, **more: Any) -> OidcSection:
        """Return the settings of a server that accepts its tokens."""
        return OidcSection(**{"issuer": self.url, "audience": AUDIENCE, **more})

    def _discovery(self) -> tuple[int, bytes]:
        return 200, json.dumps({"issuer": self.url, "jwks_uri": self.url + KEYS}).encode()

    def _keys(self) -> tuple[int, bytes]:
        return 200, json.dumps(KeySet(self.published).as_dict()).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests.append(self.path)
            status, body = (503, b"") if issuer.down else issuer.answers[self.path]()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", issuer.url + KEYS)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def verifying(settings: OidcSection, shared: SharedDocument | None = None) -> Iterator[TokenVerifier]:
    """Open a verifier, and close it at the end."""
    verifier = open_verifier(settings, shared or shared_keys())
    try:
        yield verifier
    finally:
        verifier.close()
        verifier.keys._thread.join(10)
