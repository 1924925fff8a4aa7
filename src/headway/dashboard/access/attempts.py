"""A limit on sign-ins that fail, by name and by address."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping

MAX_SUBJECTS = 10_000


class Attempts:
    """Counts attempts of subjects, such as names: `burst` may come at once, then one every `gap_s`.

    An attempt counts from its beginning, so that many at once cannot pass together; one that succeeds is taken off.
    """

    def __init__(self, limits: Mapping[str, tuple[int, float]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._until: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def begin(self, **subjects: str) -> float:
        """Count an attempt and return 0; return the seconds to wait, uncounted, if one of the subjects must wait."""
        now = self._clock()
        with self._lock:
            waits = [self._until.get(item, now) - now - self._room_s(item[0]) for item in subjects.items()]
            if max(waits) > 0:
                return max(waits)
            for item in subjects.items():
                self._until[item] = max(self._until.pop(item, now), now) + self._limits[item[0]][1]
            while len(self._until) > MAX_SUBJECTS:
                del self._until[next(iter(self._until))]
        return 0.0

    def succeed(self, **subjects: str) -> None:
        """Take an attempt off again."""
        with self._lock:
            for item in subjects.items():
                if item in self._until:
                    self._until[item] -= self._limits[item[0]][1]

    def _room_s(self, kind: str) -> float:
        burst, gap_s = self._limits[kind]
        return (burst - 1) * gap_s


def network_of(address: str) -> str:
    """Return what one caller is counted by: an IPv4 address, or the network of 64 bits that one has in IPv6.

    >>> network_of("2001:db8::1:2"), network_of("192.0.2.1")
    ('2001:db8::/64', '192.0.2.1')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
