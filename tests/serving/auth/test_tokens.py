"""Access tokens of an issuer: what is verified, and keys that rotate while the issuer is up, down or wrong."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_calls import grpc_client
from issuer import DISCOVERY, KEYS, Issuer, issuing, verifying
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from msgspec.structs import replace
from running import OPEN, Answer, Running, ask, body_of, loaded, open_authenticator, serving

from headway.core.config import Config
from headway.core.errors import ConfigError, PluginError
from headway.core.plugins import install
from headway.serving.auth import _jose
from headway.serving.auth import authenticator as authentication
from headway.serving.auth import tokens as module
from headway.serving.auth.authenticator import NotAuthorized, create_authenticator
from headway.serving.auth.keys import create_key
from headway.serving.auth.tokens import TokenRefused, TokenVerifier, open_verifier, shared_keys
from headway.serving.settings.oidc import OidcSection

INFER, LABELS, LOAD = "/v2/models/flights/infer", "/v2/models/flights/labels", "/v2/repository/models/flights/load"
ROWS, LABEL = body_of([1, 2, 6]), b'{"labels": [{"key": "a", "label": 1}]}'


@pytest.fixture(scope="module")
def alone() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def issuer(alone) -> Issuer:
    """Return an issuer with a new key that is up and answers as it should."""
    alone.down = False
    alone.answers = {DISCOVERY: alone._discovery, KEYS: alone._keys}
    alone.rotate()
    return alone


@pytest.fixture
def verifier(issuer) -> Iterator[TokenVerifier]:
    with verifying(issuer.settings()) as verifier:
        yield verifier


def why(verifier: TokenVerifier, token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(TokenRefused) as error:
        verifier.verify(token.encode())
    return str(error.value)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_token_has_a_subject_scopes_and_an_end(verifier, issuer):
    found = verifier.verify(issuer.token(exp=time.time() + 600).encode())
    assert (found.subject, found.scopes, found.models) == ("shop", {"predict", "label"}, frozenset())
    assert 620 < found.expires_s - time.time() <= 630  # with the clock skew


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": -40}, "it has expired"),
        ({"exp": None}, "its claim 'exp' is missing or wrong"),
        ({"exp": "tomorrow"}, "its claim 'exp' is missing or wrong"),
        ({"exp": float("nan")}, "its claim 'exp' is missing or wrong"),
        ({"exp": float("inf")}, "its claim 'exp' is missing or wrong"),
        ({"nbf": 400}, "its claim 'nbf' is missing or wrong"),
        ({"iat": 400}, "its claim 'iat' is missing or wrong"),
        ({"aud": "another"}, "its claim 'aud' is missing or wrong"),
        ({"aud": ["another", "third"]}, "its claim 'aud' is missing or wrong"),
        ({"aud": None}, "its claim 'aud' is missing or wrong"),
        ({"iss": "https://evil.example"}, "its claim 'iss' is missing or wrong"),
        ({"iss": None}, "its claim 'iss' is missing or wrong"),
        ({"sub": None}, "it names no subject (claim 'sub')"),
        ({"sub": ""}, "it names no subject (claim 'sub')"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(verifier, issuer, claims, reason):
    assert why(verifier, issuer.token(**claims)) == reason


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -5},
        {"nbf": 20, "iat": 20},
        {"aud": ["another", "headway"]},
        {"sub": None, "client_id": "shop"},
        {"sub": None, "azp": "shop"},
        {"scope": ["predict", "label", 1]},
    ],
)
def test_clock_skew_several_audiences_and_the_names_of_issuers_are_accepted(verifier, issuer, claims):
    found = verifier.verify(issuer.token(**claims).encode())
    assert (found.subject, found.scopes) == ("shop", {"predict", "label"})


def test_the_algorithm_is_never_chosen_by_the_token(verifier, issuer):
    claims = issuer.token().split(".")[1]
    none = f"{encoded({'alg': 'none', 'kid': issuer.key.kid})}.{claims}."
    assert why(verifier, none).startswith("its algorithm is none of RS256,")
    signed = f"{encoded({'alg': 'HS256', 'kid': issuer.key.kid})}.{claims}"
    digest = hmac.digest(issuer.key.as_pem(private=False), signed.encode(), "sha256")
    forged = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert why(verifier, forged).startswith("its algorithm is none of")
    with verifying(issuer.settings(algorithms=("RS256",))) as strict:
        assert why(strict, issuer.token()) == "its algorithm is none of RS256"


@pytest.mark.parametrize("alter", ["signature", "claims", "another key"])
def test_a_token_that_the_issuer_did_not_sign_is_refused(verifier, issuer, alter):
    head, claims, signature = issuer.token().split(".")
    if alter == "signature":
        signature = ("A" if signature[0] != "A" else "B") + signature[1:]
    elif alter == "claims":
        claims = encoded({"iss": issuer.url, "aud": "headway", "sub": "root", "exp": time.time() + 60})
    else:
        signature = issuer.token(key=ECKey.generate_key("P-256")).split(".")[2]
    assert why(verifier, f"{head}.{claims}.{signature}") == "its signature is wrong"


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        f"{encoded({'alg': 'ES256'})}.{encoded({})}",
        f"{encoded({'kid': 'x'})}.{encoded({})}.AA",
        f"{encoded([])}.{encoded({})}.AA",
        f"{encoded({'alg': 'ES256', 'crit': ['x'], 'x': 1})}.{encoded({})}.AA",
        f"{base64.urlsafe_b64encode(b'[' * 4000).decode()}.{encoded({})}.AA",
        f"{encoded({'alg': ['ES256'], 'kid': {}})}.{encoded({})}.AA",
        "é.é.é",
    ],
)
def test_a_malformed_token_is_refused(verifier, token):
    assert why(verifier, token)


def test_a_payload_must_be_an_object(verifier, issuer):
    token = jws.serialize_compact({"alg": "ES256", "kid": issuer.key.kid}, "[1]", issuer.key, ["ES256"])
    assert why(verifier, token) == "it is not a signed JWT of this issuer"


def test_keys_of_other_kinds_are_left_out_and_an_unreadable_one_hides_no_other(issuer):
    keys = [
        OctKey.generate_key(256).as_dict(),
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "!"},
        {"kty": "new"},
        RSAKey.generate_key(2048, {"use": "enc"}).as_dict(),
        OKPKey.generate_key("Ed25519", {"kid": "ed"}).as_dict(),
        issuer.key.as_dict(),
    ]
    issuer.answers[KEYS] = lambda: (200, json.dumps({"keys": keys}).encode())
    with verifying(issuer.settings()) as verifier:
        assert len(verifier.keys.current().keys) == 2
        assert verifier.verify(issuer.token().encode()).subject == "shop"


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES512", "Ed25519"])
def test_a_token_of_each_kind_of_key_is_verified(issuer, algorithm):
    kinds = {"R": (RSAKey, 2048), "P": (RSAKey, 2048), "ES": (ECKey, "P-521"), "Ed": (OKPKey, "Ed25519")}
    kind, size = next(found for name, found in kinds.items() if algorithm.startswith(name))
    issuer.key = kind.generate_key(size, {"use": "sig"}, auto_kid=True)
    issuer.published = [issuer.key]
    with verifying(issuer.settings()) as verifier:
        assert verifier.verify(issuer.token(header={"alg": algorithm}).encode()).subject == "shop"


def test_a_token_that_names_no_key_is_verified_if_the_issuer_has_only_one(verifier, issuer):
    assert verifier.verify(issuer.token(header={"kid": ""}).encode()).subject == "shop"
    issuer.published.append(ECKey.generate_key("P-256", {"use": "sig"}, auto_kid=True))
    assert verifier.keys.refresh()
    assert "a key that its issuer has not published" in why(verifier, issuer.token(header={"kid": ""}))


def test_after_a_rotation_tokens_of_the_new_key_are_accepted_and_those_of_the_old_are_not(verifier, issuer):
    old = issuer.token()
    assert verifier.verify(old.encode())
    issuer.rotate()
    assert "a key that its issuer has not published, or not yet" in why(verifier, issuer.token())
    assert verifier.keys._wanted.is_set()  # it is fetched on the thread
    assert verifier.keys.refresh() and verifier.version == 2
    assert verifier.verify(issuer.token().encode()) and "not published" in why(verifier, old)


def test_an_unknown_key_is_fetched_on_the_thread(issuer, monkeypatch):
    monkeypatch.setattr(module, "_GAP_S", 0.0)
    with verifying(issuer.settings()) as verifier:
        issuer.rotate()
        token, deadline = issuer.token().encode(), time.monotonic() + 10
        with pytest.raises(TokenRefused):
            verifier.verify(token)
        while verifier.version < 2:
            assert time.monotonic() < deadline
        assert verifier.verify(token).subject == "shop"


def test_many_tokens_with_unknown_keys_cause_no_more_fetches_than_one(verifier, issuer):
    before = len(issuer.requests)
    for _ in range(50):
        why(verifier, issuer.token(header={"kid": "unknown"}))
    assert len(issuer.requests) == before


def test_while_the_issuer_is_down_its_keys_are_used_and_one_line_is_logged(verifier, issuer, caplog):
    old = issuer.token().encode()
    issuer.down = True
    assert [verifier.keys.refresh() for _ in range(3)] == [False] * 3
    assert verifier.verify(old).subject == "shop"
    issuer.rotate()
    assert "not yet" in why(verifier, issuer.token())
    issuer.down = False
    assert verifier.keys.refresh() and verifier.verify(issuer.token().encode())
    assert caplog.text.count(f"the keys of {issuer.url} were not fetched") == 1


def test_keys_that_are_too_old_are_not_used_until_they_are_fetched_again(issuer):
    with verifying(issuer.settings(keys_max_age_s=100)) as verifier:
        verifier.keys._fetched_s -= 101
        assert why(verifier, issuer.token()) == "the keys of its issuer could not be fetched"
        assert verifier.keys.refresh() and verifier.verify(issuer.token().encode())


def test_an_issuer_that_is_down_at_the_start_is_asked_again(issuer, monkeypatch):
    monkeypatch.setattr(module, "_GAP_S", 0.0)
    issuer.down = True
    with verifying(issuer.settings()) as verifier:
        assert why(verifier, issuer.token()) == "the keys of its issuer could not be fetched"
        issuer.down = False
        deadline = time.monotonic() + 10
        while not verifier.version:
            assert time.monotonic() < deadline
        assert verifier.verify(issuer.token().encode())


def test_a_worker_that_starts_while_the_issuer_is_down_has_the_keys_of_the_others(issuer):
    shared = shared_keys()
    with verifying(issuer.settings(), shared):
        issuer.down = True
        with verifying(issuer.settings(keys_max_age_s=100), shared) as restarted:
            assert restarted.verify(issuer.token().encode()).subject == "shop"
            restarted.keys._fetched_s -= 101
            assert "could not be fetched" in why(restarted, issuer.token())


def test_keys_may_be_at_a_url_of_their_own(issuer):
    issuer.answers[DISCOVERY] = lambda: (404, b"")
    with verifying(issuer.settings(jwks_url=issuer.url + KEYS)) as verifier:
        assert verifier.verify(issuer.token().encode())


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (200, b'{"issuer": "https://evil.example", "jwks_uri": "http://127.0.0.1/keys"}')),
        (DISCOVERY, (200, b"not JSON")),
        (DISCOVERY, (200, b"[]")),
        (DISCOVERY, (302, b"")),
        (KEYS, (302, b"")),
        (KEYS, (404, b"")),
        (KEYS, (200, b'{"keys": []}')),
        (KEYS, (200, b'{"keys": [1]}')),
        (KEYS, (200, b'{"keys": [' + b" " * (1 << 20) + b"]}")),
    ],
)
def test_documents_that_are_wrong_are_not_used(verifier, issuer, path, answer):
    issuer.answers[path] = lambda: answer
    assert not verifier.keys.refresh()
    assert verifier.verify(issuer.token().encode())


@pytest.mark.parametrize("url", ["http://idp.example/keys", "file:///etc/hostname", "https:///x"])
def test_keys_are_fetched_over_https_only_except_on_this_machine(verifier, issuer, url):
    issuer.answers[DISCOVERY] = lambda: (200, json.dumps({"issuer": issuer.url, "jwks_uri": url}).encode())
    assert not verifier.keys.refresh()


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"issuer": "https://idp.example"}, "[oidc] audience"),
        ({"issuer": "http://idp.example", "audience": "a"}, "[oidc] issuer"),
        ({"issuer": "idp.example", "audience": "a"}, "[oidc] issuer"),
        ({"issuer": "https://idp.example", "audience": "a", "jwks_url": "http://10.0.0.1/"}, "[oidc] jwks_url"),
    ],
)
def test_incomplete_or_insecure_settings_are_an_error_at_the_start(settings, where):
    with pytest.raises(ConfigError) as error:
        open_verifier(OidcSection(**settings), shared_keys())
    assert error.value.where == where


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.delitem(sys.modules, "headway.serving.auth._jose", raising=False)
    with pytest.raises(PluginError, match="needs 'joserfc'") as error:
        open_verifier(OidcSection(issuer="http://localhost:1", audience="a"), shared_keys())
    assert error.value.hint == install("joserfc")


def bring(server: Running, token: str, path: str = INFER, body: bytes = ROWS) -> Answer:
    return ask(server, path, body, headers=[f"Authorization: Bearer {token}"] if token else [])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_a_token_allows_its_scopes_over_json_binary_and_grpc(verifier, issuer, file):
    token = issuer.token(scope="predict openid")
    with serving(loaded(), authenticator=open_authenticator(file, tokens=verifier)) as server:
        assert bring(server, token).values == [3.0]
        assert bring(server, "").status == 401
        answer = bring(server, token, LABELS, LABEL)
        assert answer.status == 403 and answer.json["error"] == (
            "the token of 'shop' does not have the scope 'label'; ask the issuer for the scope 'label'"
        )
        tensor = {"name": "rows", "shape": [1, 3], "datatype": "FP64", "parameters": {"binary_data_size": 24}}
        raw = json.dumps({"inputs": [tensor]}).encode()
        headers = [f"Authorization: Bearer {token}", f"Inference-Header-Content-Length: {len(raw)}"]
        assert ask(server, INFER, raw + bytes(24), headers=headers).values == [0.0]
        assert bring(server, issuer.token(scope="operate"), LOAD, b"{}").status == 200
        with grpc_client(server, token) as call:
            assert call("ModelMetadata", name="flights").name == "flights"
            with pytest.raises(grpc.RpcError) as error:
                call("RepositoryModelLoad", model_name="flights")
            assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with grpc_client(server, issuer.token(exp=-600)) as call, pytest.raises(grpc.RpcError) as error:
            call("ModelMetadata", name="flights")
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_reason_of_a_refusal_is_answered(verifier, issuer, file):
    with serving(loaded(), authenticator=open_authenticator(file, tokens=verifier)) as server:
        answer = bring(server, issuer.token(exp=-600))
        assert answer.json["error"].startswith("the token is not accepted: it has expired; send 'Authorization")
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"' and answer.status == 401
        assert bring(server, "no token").json["error"].startswith("the API key is unknown or was revoked")
        assert "access token with the scope 'predict' is required" in bring(server, "").json["error"]
        assert bring(server, issuer.token(exp=-600), "/metrics", b"").status == 200  # it needs no token


def test_api_keys_work_next_to_tokens(verifier, file):
    key = create_key(file, "billing", ["predict"])
    with serving(loaded(), authenticator=open_authenticator(file, tokens=verifier)) as server:
        assert [bring(server, who).status for who in (key, "")] == [200, 401]
        assert bring(server, key, LABELS, LABEL).json["error"].endswith("headway api-keys new NAME --scope label")


def test_scopes_may_have_a_prefix_and_a_claim_of_their_own(issuer, file):
    settings = issuer.settings(scope_prefix="hw:", scope_claim="scp")
    with verifying(settings) as verifier:
        doors = open_authenticator(file, tokens=verifier)
        right, wrong = (issuer.token(scope=None, scp=[name]).encode() for name in ("hw:predict", "predict"))
        assert doors.authorize(b"Bearer " + right, "predict").name == "shop"
        with pytest.raises(NotAuthorized) as error:
            doors.authorize(b"Bearer " + wrong, "predict")
        assert error.value.hint == "ask the issuer for the scope 'hw:predict'"


def test_a_token_may_be_for_some_models(issuer, file):
    with verifying(issuer.settings(models_claim="models")) as verifier:
        doors = open_authenticator(file, tokens=verifier)
        token = b"Bearer " + issuer.token(models="flights hotels").encode()
        assert doors.authorize(token, "predict", "flights").models == {"flights", "hotels"}
        with pytest.raises(NotAuthorized, match="the token of 'shop' is not for the model 'mixed'"):
            doors.authorize(token, "predict", "mixed")
        assert why(verifier, issuer.token()) == "it names no model (claim 'models')"


def test_a_token_is_verified_once_until_it_expires_or_the_keys_change(verifier, issuer, file, monkeypatch):
    monkeypatch.setattr(authentication, "RELOAD_NS", -1)
    doors, calls, verify = open_authenticator(file, tokens=verifier), [], verifier.verify
    monkeypatch.setattr(verifier, "verify", lambda token: calls.append(token) or verify(token))
    token = b"Bearer " + issuer.token(exp=time.time() + 500).encode()
    for _ in range(3):
        assert doors.authorize(token, "predict").name == "shop"
    assert len(calls) == 1
    later = time.time() + 600
    with monkeypatch.context() as clock, pytest.raises(NotAuthorized, match="expired"):
        clock.setattr(time, "time", lambda: later)
        doors.authorize(token, "predict")
    assert doors.authorize(token, "predict").name == "shop" and len(calls) == 3
    issuer.rotate()
    verifier.keys.refresh()
    with pytest.raises(NotAuthorized, match="not published"):
        doors.authorize(token, "predict")


def test_a_cache_full_of_old_tokens_is_emptied_for_new_ones(verifier, issuer, file, monkeypatch):
    monkeypatch.setattr(authentication, "_MAX_CACHED", 3)
    doors = open_authenticator(file, tokens=verifier)
    for number in range(7):
        assert doors.authorize(b"Bearer " + issuer.token(sub=f"s{number}").encode(), "predict").name == f"s{number}"
    assert len(doors._cached) <= 3 and b"" in doors._cached
    with pytest.raises(NotAuthorized):
        doors.authorize(b"", "predict")


def test_each_subject_has_the_default_rate_limit_to_itself(verifier, issuer, file):
    settings = replace(OPEN, key_per_s=0.01, key_burst=1)
    doors = open_authenticator(file, settings, tokens=verifier)
    for subject in ("ann", "bob"):
        token = b"Bearer " + issuer.token(sub=subject).encode()
        assert doors.authorize(token, "predict").name == subject
        with pytest.raises(NotAuthorized, match=f"the token of '{subject}' may send 0.01 requests/s"):
            doors.authorize(token, "predict")


def test_beyond_loopback_an_issuer_is_enough_to_start_and_the_library_is_loaded_only_with_one(issuer, tmp_path):
    config = Config(issuer.settings(), replace(OPEN, host="0.0.0.0"), folder=str(tmp_path))
    doors = create_authenticator(config, open_authenticator(tmp_path / "keys.toml")._limiter, shared_keys())
    assert doors.authorize(b"Bearer " + issuer.token().encode(), "predict").name == "shop"
    doors.close()
    doors._tokens.keys._thread.join(10)
    with pytest.raises(ConfigError, match="without an API key"):
        create_authenticator(config.having(OidcSection()), doors._limiter, shared_keys())


def test_an_issuer_that_does_not_speak_http_is_an_error_of_the_fetch():
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer():
            with server.accept()[0] as caller:
                caller.recv(1 << 16)
                caller.sendall(b"SSH-2.0\r\n\r\n")

        answered = pool.submit(answer)
        with pytest.raises(OSError, match="did not answer as HTTP"):
            _jose.fetch(f"http://127.0.0.1:{server.getsockname()[1]}/")
        answered.result(60)
