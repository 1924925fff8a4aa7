"""Dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.exposure import digest_of_file, reached_at
from headway.core.record import about
from headway.core.settings_section import SettingsSection


class UiSection(SettingsSection, frozen=True, kw_only=True):
    """Dashboard."""

    table: ClassVar[str] = "ui"

    host: Annotated[str, about("Address that the dashboard listens on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port of the dashboard; 0: any free port.")] = 8090
    hosts: Annotated[
        tuple[str, ...],
        about("Names in the addresses by which people open the dashboard, besides those of this machine itself."),
    ] = ()
    url: Annotated[
        str,
        about(
            "Address by which people open the dashboard, such as https://headway.example; behind a reverse proxy, for "
            "links in messages, and for sign-in at an issuer. With https, cookies travel over TLS only."
        ),
    ] = ""
    proxies: Annotated[
        tuple[str, ...],
        about(
            "Addresses or networks of the reverse proxies whose X-Forwarded-For names the caller, such as 127.0.0.1."
        ),
    ] = ()
    tls_certificate: Annotated[str, about("PEM file of the certificate chain; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of the private key; empty: in the certificate file.")] = ""
    users: Annotated[str, about("File of people with roles and hashes of passwords, written by `headway users`.")] = (
        "users.toml"
    )
    idle_minutes: Annotated[
        float, Meta(description="Time without a request after which a person is signed out, minutes.", gt=0)
    ] = 60.0
    session_hours: Annotated[float, Meta(description="Time after which a person signs in again, hours.", gt=0)] = 12.0
    servers: Annotated[
        tuple[Annotated[str, Meta(pattern="^https?://[^/@]+$")], ...],
        about(
            "Addresses of the project's servers, such as http://127.0.0.1:8080, whose /metrics pages and alerts read; "
            "the key is read from HEADWAY_METRICS_KEY. Empty: the port of [serve] here, if a server runs there."
        ),
    ] = ()

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what it opens or asks: addresses, and digests of files."""
        return {"ui.host": reached_at(self.host), "ui.users": digest_of_file(path(self.users))}


plugin = UiSection
