"""What every response carries and every request is checked for, before a page sees it.

`Host` must name this dashboard, which keeps pages of other sites from reaching it by a name that they control (DNS
rebinding). A request that writes must come from a page of this dashboard, by its `Origin`.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway.dashboard.listening import LOOPBACK
from headway.monitoring.settings.ui import UiSection

COOKIE = "headway_session"

READS = ("GET", "HEAD")
STATIC = "/static/"
"""Files of this package, which a browser keeps, and asks whether they have changed."""
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityMiddleware:
    """Refuses requests with another host or origin, and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, settings: UiSection) -> None:
        self._app = app
        self._hosts = {*LOOPBACK, *settings.hosts, urlsplit(settings.url).hostname}
        self._schemes = ("https",) if uses_https(settings) else ("http", "https")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith(STATIC) else "no-store")
            await send(message)

        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            what = f"{host!r} is not a name of this dashboard; [ui] hosts lists its names\n"
            return PlainTextResponse(what, HTTPStatus.MISDIRECTED_REQUEST)
        if scope["method"] not in READS and headers.get("origin") not in {
            f"{scheme}://{host}" for scheme in self._schemes
        }:
            return PlainTextResponse("writes must come from a page of this dashboard\n", HTTPStatus.FORBIDDEN)
        return None


def _name(host: str) -> str:
    """Return the name in a Host header, without its port; empty if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def uses_https(settings: UiSection) -> bool:
    """Return whether people reach the dashboard over TLS: its own, or that of a reverse proxy."""
    return bool(settings.tls_certificate) or settings.url.startswith("https://")


def cookie_name(settings: UiSection) -> str:
    """Return the name of the session's cookie; over TLS, browsers refuse a `__Host-` that another host has set."""
    return f"__Host-{COOKIE}" if uses_https(settings) else COOKIE
