"""Send a device's reports and its prediction log to the server of `[fleet] report_url`, while that can be reached."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import msgspec

from headway import __version__
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.fleet import DeviceReport, DeviceState
from headway.core.outbound import open_url
from headway.core.settings.project import ProjectSection
from headway.core.urls import is_secure
from headway.deployment.fleet.device import TIMEOUT_S, PollResult
from headway.registry.settings.fleet import FleetSection
from headway.storage import segments, traffic

MAX_SEGMENTS = 500
"""Segments that are shipped after one poll: a device that was offline for long ships its log over several polls."""
_MAX_TEXT, _MAX_MESSAGE = 256, 1_024
_DAMAGED = (400, 413)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReporter:
    """Reports for a device, and ships its log, under its API key.

    Parameters
    ----------
    url
        Address of the server, such as https://models.example; anything but loopback has to be HTTPS.
    name
        The model.
    log
        State folder of the device, whose log of the model is shipped.
    """

    url: str
    name: str
    device: str
    key: str
    log: Path
    timeout_s: float = TIMEOUT_S
    _statuses: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise ConfigError for an address to which a key must not be sent."""
        if not is_secure(self.url):
            raise ConfigError(
                f"a device does not send its key and its log to {self.url!r}",
                where="[fleet] report_url",
                hint="https://HOST",
            )

    def report(self, state: DeviceState, result: PollResult, *, at: datetime) -> bool:
        """Report a poll; return whether the server has it. The device goes on whatever the answer is."""
        report = DeviceReport(
            device=self.device,
            name=state.name,
            pointer=state.pointer,
            release=state.release,
            number=state.number,
            timestamp=state.timestamp,
            reason=result.reason,
            message=result.message[:_MAX_MESSAGE],
            at=at.isoformat(timespec="milliseconds"),
            headway=__version__[:_MAX_TEXT],
            waiting=sum(1 for _ in self.waiting()),
        )
        status, message = self._post("report", msgspec.json.encode(report), kind="application/json")
        self._log_change("the report of this device", status, message)
        return status == 200

    def waiting(self) -> Iterator[Path]:
        """Yield the segments of the log that are not shipped yet, those of a release in order of time."""
        for folder in traffic.log_folders(self.log, self.name):
            yield from segments.segments(folder)

    def send_log(self) -> int:
        """Ship what waits, and delete each segment here once the server has it; return how many.

        One that the server cannot read is deleted, for it never will be. Anything else ends it until the next poll, or
        with the log of one release, if that was not staged to this device.
        """
        shipped, refused = 0, ""
        for path in list(self.waiting())[:MAX_SEGMENTS]:
            if path.parent.name == refused:
                continue
            with traffic.rewriting(self.log, wait=True):  # no other process erases rows of it
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    continue
                target = f"log/{path.parent.name}/{quote(path.name)}"
                status, message = self._post(target, content, kind="application/octet-stream")
                if status == 200 or status in _DAMAGED:
                    path.unlink(missing_ok=True)
            shipped += status == 200
            if status in _DAMAGED:
                _log.error("the server cannot read %s, which is deleted: %s", path.name, message)
                continue
            self._log_change(f"the log of release {path.parent.name}", status, message)
            if status == 403:
                refused = path.parent.name
            elif status != 200:
                break
        return shipped

    def _log_change(self, subject: str, status: int, message: str) -> None:
        """Log that the server does not accept something, once until its status changes.

        A device may be offline for months, and polls every minute.
        """
        if status not in (200, self._statuses.get(subject)):
            level = logging.WARNING if status else logging.INFO
            _log.log(level, "%s is not accepted (%s): %s", subject, status or "no answer", message)
        self._statuses[subject] = status

    def _post(self, path: str, content: bytes, *, kind: str) -> tuple[int, str]:
        """Return the status of the answer, 0 without one, and what it says."""
        headers = {"Content-Type": kind, "Authorization": f"Bearer {self.key}"}
        where = f"{self.url.rstrip('/')}/v2/devices/{quote(self.name)}/{path}"
        request = urllib.request.Request(where, content, headers, method="POST")
        try:
            with open_url(request, timeout_s=self.timeout_s) as response:
                return int(response.status), response.read(_MAX_MESSAGE).decode(errors="replace")
        except HTTPError as error:
            with error:
                return error.code, error.read(_MAX_MESSAGE).decode(errors="replace")
        except (OSError, HTTPException, ValueError) as error:
            return 0, str(error)


def device_reporter(config: Config, device: str) -> DeviceReporter | None:
    """Return what reports for a device by `[fleet]`, None without an address; raises ConfigError without its key."""
    if not config[FleetSection].report_url:
        return None
    file = config.path(config[FleetSection].key_file)
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the API key of this device cannot be read",
            where=str(file),
            hint=f"on the server: headway api-keys new {device} --scope device",
        ) from error
    return DeviceReporter(
        url=config[FleetSection].report_url, name=config[ProjectSection].name, device=device, key=key, log=config.state
    )
