"""Read the metrics of servers that alerts need: burn rates, the log's lag, and pointers that were refused."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from headway.core.errors import HeadwayError

TIMEOUT_S = 5.0
MAX_BYTES = 8 << 20
_KEY = "HEADWAY_SCHEDULE_SERVERS_KEY"
_LINE = re.compile(
    r"^(headway_slo_burn|headway_log_lag_seconds|headway_log_healthy|headway_pointer_refused)"
    r"(?:\{([^}]*)\})? (\S+)$",
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """Metrics of a server; `problem` says why they could not be read.

    `burn` maps objective and window to a burn rate, `refused` lists pointers whose last update was refused.
    """

    address: str
    problem: str = ""
    burn: Mapping[tuple[str, str], float] = field(default_factory=dict)
    log_lag_s: float = 0.0
    log_healthy: bool = True
    refused: tuple[str, ...] = ()


def read_metrics(address: str) -> ServerMetrics:
    """Read the metrics of a server at a URL such as http://127.0.0.1:8080."""
    url = f"{address.rstrip('/')}/metrics"
    try:
        request = urllib.request.Request(url, headers=_headers())
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            text = response.read(MAX_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        error.close()
        hint = f"; set {_KEY} to an API key with the scope metrics" if error.code in (401, 403) else ""
        return ServerMetrics(address=address, problem=f"it answered with status {error.code}{hint}")
    except (OSError, HTTPException, ValueError, HeadwayError) as error:
        reason = getattr(error, "reason", error)
        shown = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
        return ServerMetrics(address=address, problem=f"it cannot be reached: {shown}")
    return parse_metrics(address, text)


def parse_metrics(address: str, text: str) -> ServerMetrics:
    """Return the metrics in the text of a server."""
    burn: dict[tuple[str, str], float] = {}
    refused: list[str] = []
    lag, healthy = 0.0, True
    for name, labels, number in _LINE.findall(text):
        value, of = float(number), dict(_LABEL.findall(labels))
        if name == "headway_slo_burn":
            burn[of.get("objective", ""), of.get("window", "")] = value
        elif name == "headway_pointer_refused":
            refused += [of.get("pointer", "")] if value else []
        elif name == "headway_log_healthy":
            healthy = value > 0
        else:
            lag = value
    return ServerMetrics(address=address, burn=burn, log_lag_s=lag, log_healthy=healthy, refused=tuple(refused))


def _headers() -> dict[str, str]:
    """Return the header with the API key for metrics, if the environment has one."""
    file = os.environ.get(f"{_KEY}_FILE")
    key = Path(file).read_text("utf-8").strip() if file else os.environ.get(_KEY, "")
    return {"Authorization": f"Bearer {key}"} if key else {}
