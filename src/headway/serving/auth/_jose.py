"""Keys and signatures of access tokens, by joserfc; imported only if an issuer is configured."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

import msgspec
from joserfc import errors, jwt
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

from headway.core.outbound import open_url
from headway.core.urls import is_secure
from headway.serving.auth.tokens import MAX_BYTES, TokenRefused, UnknownKey
from headway.serving.settings.oidc import OidcSection

_FETCH_S = 5.0
_PUBLIC = frozenset({"RSA", "EC", "OKP"})
_UNREADABLE = (errors.JoseError, ValueError, TypeError, KeyError, RecursionError)


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


def fetch(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the document at a secure URL, or what it answers to a body; raises OSError or ValueError."""
    if not is_secure(url):
        raise ValueError(f"'{url}' is not an https URL")
    try:
        query = urllib.request.Request(url, body, dict(headers or {}))
        with open_url(query, timeout_s=_FETCH_S) as response:
            content: bytes = response.read(MAX_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise
    except HTTPException as error:
        raise OSError(f"{url} did not answer as HTTP: {error!r}") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{url} has more than {MAX_BYTES} bytes")
    return content


def import_keys(document: bytes) -> KeySet:
    """Return the signing keys of a document; keys of other kinds or uses are left out.

    Raises ValueError or MsgspecError if it is not such a document, or holds none.
    """
    keys = []
    for key in msgspec.json.decode(document, type=_Document).keys:
        if key.get("kty") in _PUBLIC and key.get("use", "sig") == "sig":
            with suppress(*_UNREADABLE):  # one that this version does not know must not hide the others
                keys.append(JWKRegistry.import_key(key))
    if not keys:
        raise ValueError("the document holds no signing key")
    return KeySet(keys)


def verify(token: bytes, keys: KeySet, settings: OidcSection, *, now: float) -> Mapping[str, Any]:
    """Return the claims of a token that is signed with one of the keys, and valid now; raises TokenRefused."""
    registry = JWSRegistry(algorithms=settings.algorithms, strict_check_header=False)
    expected = jwt.JWTClaimsRegistry(
        now=int(now),
        leeway=int(settings.clock_skew_s),
        iss={"essential": True, "value": settings.issuer},
        aud={"essential": True, "value": settings.audience},
        exp={"essential": True},
    )
    try:
        claims: dict[str, Any] = jwt.decode(token, keys, registry=registry).claims
        expected.validate(claims)
    except errors.InvalidKeyIdError:
        raise UnknownKey("it is signed with a key that its issuer has not published, or not yet") from None
    except errors.UnsupportedAlgorithmError:
        raise TokenRefused(f"its algorithm is none of {', '.join(settings.algorithms)}") from None
    except errors.BadSignatureError:
        raise TokenRefused("its signature is wrong") from None
    except errors.ExpiredTokenError:
        raise TokenRefused("it has expired") from None
    except errors.ClaimError as error:
        raise TokenRefused(f"its claim '{error.claim}' is missing or wrong") from None
    except _UNREADABLE:
        raise TokenRefused("it is not a signed JWT of this issuer") from None
    return claims
