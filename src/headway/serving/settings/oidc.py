"""OpenID Connect issuer: its access tokens (JWTs) at the server, and its people at the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class OidcSection(SettingsSection, frozen=True, kw_only=True):
    """OpenID Connect issuer: its access tokens (JWTs) at the server, and its people at the dashboard."""

    table: ClassVar[str] = "oidc"

    issuer: Annotated[str, about("URL of the issuer, exactly as its tokens name it (`iss`); empty: no tokens.")] = ""
    audience: Annotated[str, about("Audience that a token must have (`aud`); required for tokens.")] = ""
    algorithms: Annotated[
        tuple[Annotated[str, Meta(pattern="^((RS|PS|ES)(256|384|512)|Ed25519)$")], ...],
        Meta(description="Signature algorithms that are accepted, whatever a token names.", min_length=1),
    ] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
    clock_skew_s: Annotated[
        float, Meta(description="Tolerance for the clock of the issuer, seconds.", ge=0, le=600)
    ] = 30.0
    scope_claim: Annotated[str, about("Claim with the scopes: a string with spaces, or a list.")] = "scope"
    scope_prefix: Annotated[
        str, about("Prefix of the scopes `predict`, `label`, `metrics` and `operate` in a token, such as `headway:`.")
    ] = ""
    models_claim: Annotated[
        str, about("Claim with the models that a token is for, a string with spaces or a list; empty: all models.")
    ] = ""
    jwks_url: Annotated[
        str, about("URL of the issuer's keys; empty: from its document /.well-known/openid-configuration.")
    ] = ""
    refresh_s: Annotated[
        float, Meta(description="Interval at which the issuer's keys are fetched, on a thread, seconds.", ge=1)
    ] = 300.0
    keys_max_age_s: Annotated[
        float,
        Meta(description="Time for which keys are used while the issuer does not answer, seconds.", ge=1),
    ] = 86_400.0
    client_id: Annotated[
        str, about("Client of the issuer by which people sign in to the dashboard; empty: they do not.")
    ] = ""
    client_secret_file: Annotated[
        str, about("File with the secret of that client, outside the store; empty: a public client.")
    ] = ""
    client_scopes: Annotated[tuple[str, ...], about("Scopes that the dashboard requests.")] = (
        "openid",
        "profile",
        "email",
    )
    name_claim: Annotated[
        str,
        about(
            "Claim with the name of a person; an `email` that is not verified, or no such claim: the subject, `sub`."
        ),
    ] = "email"
    role_claim: Annotated[
        str, about("Claim with the groups of a person, a list or a string; within another claim: `realm_access.roles`.")
    ] = "groups"
    roles: Annotated[
        dict[str, Annotated[str, Meta(pattern="^(viewer|labeller|operator|admin)$")]],
        about('Role in the dashboard by group, such as {"ml-team" = "operator", "*" = "viewer"}; `*`: everyone.'),
    ] = {}

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what it opens or asks: addresses, and digests of files."""
        return {"oidc.issuer": self.issuer}


plugin = OidcSection
