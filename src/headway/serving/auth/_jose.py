"""Signatures of access tokens, by joserfc; imported only if an issuer is configured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from joserfc import errors, jwt
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

from headway.core.sections import OidcSection
from headway.serving.auth.tokens import TokenRefused, UnknownKey

_PUBLIC = frozenset({"RSA", "EC", "OKP"})
_UNREADABLE = (errors.JoseError, ValueError, TypeError, KeyError, RecursionError)


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


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
