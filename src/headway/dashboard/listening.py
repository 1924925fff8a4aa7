"""The address of the dashboard: whether it is safe, and a socket that listens there."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.monitoring.settings.ui import UiSection

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(config: Config) -> socket.socket:
    """Return a socket that listens at the address of `[ui]`; raises ConfigError if it is unsafe or not available."""
    settings = config[UiSection]
    expect_safe(config)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"the dashboard cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            where="[ui] host, port",
            hint="headway ui --port 0 takes a free one",
        ) from error


def expect_safe(config: Config) -> None:
    """Raise ConfigError if the address of people is not one, or if others reach the dashboard by no name or no TLS."""
    settings = config[UiSection]
    parts = urlsplit(settings.url)
    if settings.url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/")):
        raise ConfigError(f"{settings.url!r} is not an address", where="[ui] url", hint="https://headway.example")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        hint = "an address with https: set tls_certificate, or put a reverse proxy with TLS before it"
        raise ConfigError(f"{settings.url}: passwords would travel unencrypted", where="[ui] url", hint=hint)
    if settings.host in LOOPBACK or settings.url:
        return
    reached = f"[ui] host is {settings.host}, which other machines reach"
    if not settings.hosts:
        hint = 'url = "https://headway.example", the address that people open'
        raise ConfigError(f"{reached}, and [ui] hosts is empty", where="[ui] host", hint=hint)
    if not settings.tls_certificate:
        hint = "set tls_certificate; behind a reverse proxy with TLS, set url"
        raise ConfigError(f"{reached}: passwords would travel unencrypted", where="[ui] host", hint=hint)


def address_of(config: Config, listening: socket.socket) -> str:
    """Return the address that people open."""
    if config[UiSection].url:
        return config[UiSection].url.rstrip("/")
    scheme = "https" if config[UiSection].tls_certificate else "http"
    host = f"[{config[UiSection].host}]" if ":" in config[UiSection].host else config[UiSection].host
    return f"{scheme}://{host}:{listening.getsockname()[1]}"
