"""Requests to servers of others, by one opener.

It follows no redirect, so that a key or a message goes to the address that was configured, and to no other. It reads no
proxy of the environment; `HEADWAY_PROXY` names one, which this machine itself is reached without. A request with a key
goes over https, or to this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from http.client import HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from headway.core.urls import is_local_host, is_secure

PROXY = "HEADWAY_PROXY"


class KeyNotSent(OSError):
    """A key would have been sent in plain text to another machine."""


def open_url(request: Request, *, timeout_s: float, environment: Mapping[str, str] = os.environ) -> HTTPResponse:
    """Open a request; the caller bounds what it reads of the response.

    Raises
    ------
    KeyNotSent
        If it has an `Authorization` header, and its address is not secure (`is_secure`).
    OSError, HTTPException or ValueError
        If the server does not answer, or its status is not 2xx: a redirect is an `HTTPError`.
    """
    if request.has_header("Authorization") and not is_secure(request.full_url):
        raise KeyNotSent(f"a key is sent over https only, and {request.host} is asked over {request.type}")
    proxy = "" if is_local_host(urlsplit(request.full_url).hostname or "") else environment.get(PROXY, "")
    opener = build_opener(_NoRedirects, ProxyHandler({"http": proxy, "https": proxy} if proxy else {}))
    return cast(HTTPResponse, opener.open(request, timeout=timeout_s))


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Return no request, so that the redirect is an error."""
