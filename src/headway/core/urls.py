"""Addresses to which a key may be sent."""

from __future__ import annotations

import ipaddress
import re
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


def without_password(text: str) -> str:
    """Replace the password of every URL in a text.

    >>> without_password("postgresql://ada:secret@db.example/flights?password=secret")
    'postgresql://ada:***@db.example/flights?password=***'
    """
    text = re.sub(r"(://[^:@]*):.*@", r"\1:***@", text, flags=re.DOTALL)
    return re.sub(r"(?i)((?:password|secret\w*)=)[^&\s]+", r"\1***", text)
