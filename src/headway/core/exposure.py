"""Who can reach the model, and how: each section of the settings says it of what it opens or asks."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from headway.core.config import Config, sections
from headway.core.record import digest_of


def exposure_of(config: Config) -> dict[str, str]:
    """Return who can reach the model and how, by the setting that says so; addresses only, and digests of files."""
    exposures = [config[section].exposure(config.path) for section in sections().values()]
    return {setting: value for exposure in exposures for setting, value in exposure.items() if value}


def is_reachable(host: str) -> bool:
    """Return whether an address that a server listens on can be reached from other machines."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def reached_at(host: str) -> str:
    """Return the address that a server listens on, or `this machine` if no other reaches it."""
    return host if is_reachable(host) else "this machine"


def digest_of_file(path: Path) -> str:
    """Return the digest of a file, "" if it cannot be read."""
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return ""
