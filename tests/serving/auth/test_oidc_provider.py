"""A server process accepts the access tokens of a certified issuer, also while it is down and after it changed keys."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from joserfc.jwk import ECKey, KeySet, RSAKey
from running import TESTS, Answer, Peer, body_of, project, request, started
from tests.ports import free_port

pytestmark = pytest.mark.services
LIBRARY = TESTS.parent / ".venv/npm/node_modules/oidc-provider/lib/index.js"
SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
INFER, LABELS = "/v2/models/flights/infer", "/v2/models/flights/labels"


@contextmanager
def provider(port: int, folder: Path) -> Iterator[None]:
    """Run the issuer with keys of its own until the end of the block."""
    keys = [
        RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True),
        ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True),
    ]
    file = folder / "issuer.json"
    file.write_text(json.dumps(KeySet(keys).as_dict(private=True)))
    node = shutil.which("node")
    assert node and LIBRARY.exists(), "oidc-provider is not here\n  try: tools/npm-packages"
    process = subprocess.Popen(
        [node, str(SCRIPT), str(LIBRARY), str(port), str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert any("listening" in line for line in process.stdout), process.communicate()[1]
        yield
    finally:
        process.kill()
        process.communicate()


def token(port: int, scope: str = "predict") -> str:
    """Return an access token, by the grant of client credentials."""
    credentials = base64.b64encode(b"shop:secret").decode()
    body = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
    query = urllib.request.Request(f"http://127.0.0.1:{port}/token", body, {"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(query, timeout=10) as response:
        return json.load(response)["access_token"]


@pytest.fixture
def port() -> int:
    return free_port()


@contextmanager
def server(folder: Path, issuer: int) -> Iterator[int]:
    """Run a server that accepts tokens of the issuer; yields its port."""
    project(folder)
    with (folder / "headway.toml").open("a") as file:
        file.write(f'workers = 1\n[oidc]\nissuer = "http://127.0.0.1:{issuer}"\naudience = "headway"\n')
    process = started(folder, "flights@live")
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield int(line.split()[2].rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate(timeout=20)


def bring(port: int, credentials: str, path: str = INFER, body: bytes = b"") -> Answer:
    headers = [f"Authorization: Bearer {credentials}"] if credentials else []
    with Peer(type("Address", (), {"port": port})) as peer:
        return peer.send_bytes(request(path, body or body_of([1, 2, 6]), headers=headers)).read_answer()


def test_tokens_are_accepted_while_their_issuer_is_down_and_new_ones_after_it_rotated_its_keys(tmp_path, port):
    with ExitStack() as stack:
        with provider(port, tmp_path):
            old = token(port)
            served = stack.enter_context(server(tmp_path, port))
            assert bring(served, old).values == [3.0]
            assert bring(served, "").status == 401
            assert bring(served, old, LABELS, b'{"labels": []}').status == 403
            assert bring(served, token(port, "predict label"), LABELS, b'{"labels": []}').status == 200
        assert bring(served, old).values == [3.0]  # the issuer is down
        stack.enter_context(provider(port, tmp_path))
        new, ends = token(port), time.monotonic() + 60
        while bring(served, new).status != 200:
            assert time.monotonic() < ends
        answer = bring(served, old)
        assert answer.status == 401 and "not published" in answer.json["error"]
