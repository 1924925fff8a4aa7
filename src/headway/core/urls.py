"""Addresses to which a key may be sent."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_secure(url: str) -> bool:
    """Return True for https, and on this machine for http."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and is_local_host(parts.hostname or "")


def is_local_host(host: str) -> bool:
    """Return whether a host is this machine, by its address or as `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
