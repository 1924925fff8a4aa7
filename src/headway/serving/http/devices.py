"""Reports and logs of devices over HTTP: each is on disk before it is acknowledged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headway.core.errors import DataError, HeadwayError, Refused
from headway.core.fleet import DeviceReport, FleetPointer
from headway.core.record import kind_of, read
from headway.registry.device_logs import QuotaExceeded, save_report, save_segment
from headway.registry.fleet import staged_releases
from headway.registry.model_registry import now
from headway.serving.http.connection import Request
from headway.serving.http.request_queue import Reply, RequestQueue
from headway.serving.protocol.errors import encode, error_body
from headway.serving.protocol.schemas import RowsStored
from headway.serving.telemetry.logs import Throttle

if TYPE_CHECKING:
    from headway.core.contracts import State

POINTERS, _FRESH_S, _BATCH_REQUESTS = 100, 1.0, 32
_RETRY_DAY = b"\r\nRetry-After: 3600"
_read_report = msgspec.json.Decoder(DeviceReport).decode
_log = logging.getLogger(__name__)


class _Sent(NamedTuple):
    """What a device sent: the model, the device by its key, and the name of the segment (empty: a report)."""

    name: str
    device: str
    segment: str = ""


class DeviceReceiver:
    """Stores reports and segments of devices on a thread.

    `day_bytes` is the quota of a device for a day. The other parameters are those of `RequestQueue`.
    """

    def __init__(
        self,
        folder: Path,
        state: State,
        *,
        day_bytes: int,
        soon: Callable[[Callable[[], None]], object],
        queue_bytes: int,
        overload: Callable[[str, str], object],
    ) -> None:
        self._folder = folder
        self._state = state
        self._day_bytes = day_bytes
        self._throttle = Throttle()
        self._pointers: dict[str, tuple[float, list[FleetPointer]]] = {}
        self._queue = RequestQueue(
            self._store_each,
            what="reports and logs of devices wait to be stored",
            limit="push_queue_mb",
            soon=soon,
            queue_bytes=queue_bytes,
            overload=overload,
            batch_requests=_BATCH_REQUESTS,
        )

    def report(self, request: Request, name: str, device: str) -> None:
        """Queue the report of a device."""
        self._queue.add(request, _Sent(name, device))

    def log(self, request: Request, name: str, device: str, segment: str) -> None:
        """Queue a segment (`DIGITS/SEGMENT`) of a device's log."""
        self._queue.add(request, _Sent(name, device, segment))

    def close(self) -> None:
        """Store what was accepted, and end the thread."""
        self._queue.close()

    def _store_each(self, batch: Sequence[tuple[Request, _Sent]]) -> list[Reply]:
        return [self._store(request, sent) for request, sent in batch]

    def _store(self, request: Request, sent: _Sent) -> Reply:
        """Store what a device sent, and return the reply."""
        try:
            return Reply(request, 200, self._stored(request.body, sent))
        except QuotaExceeded as error:
            return Reply(request, 429, error_body(error), _RETRY_DAY)
        except (DataError, Refused) as error:
            if count := self._throttle.count(f"refused {sent.device}"):
                _log.warning("refused what the device %s sent (%d times): %s", sent.device, count, error)
            return Reply(request, 403 if isinstance(error, Refused) else 400, error_body(error))
        except Exception as error:  # noqa: BLE001 - the thread: a defect must not end it, nor leave a device waiting
            known = isinstance(error, HeadwayError)
            if count := self._throttle.count("failed"):
                _log.error("what a device sent was not stored (%d times): %s", count, error, exc_info=not known)
            return Reply(request, 503, error_body("it was not stored; see the log of the server"))

    def _stored(self, body: bytes | bytearray, sent: _Sent) -> bytes:
        pointers = self._published(sent.name)
        if not pointers:
            raise Refused(f"no fleet of {sent.name!r} was published from this store", hint="headway fleet publish")
        if sent.segment:
            rows = save_segment(
                self._folder,
                body,
                name=sent.name,
                device=sent.device,
                segment=sent.segment,
                releases=staged_releases(pointers, sent.device),
                day_bytes=self._day_bytes,
                at=now(),
            )
            return encode(RowsStored(rows))
        save_report(self._folder, _report(body), name=sent.name, device=sent.device, at=now())
        return encode({})

    def _published(self, name: str) -> list[FleetPointer]:
        """Return the last pointers of a fleet, read at most once a second."""
        until, found = self._pointers.get(name, (0.0, []))
        if time.monotonic() >= until:
            saved = self._state.recent(kind_of(FleetPointer), name=name, limit=POINTERS, before=0)
            found = [read(FleetPointer, one.content) for one in saved]
            if found:  # names of callers that are no fleet's are not kept
                self._pointers[name] = time.monotonic() + _FRESH_S, found
        return found


def _report(body: bytes | bytearray) -> DeviceReport:
    try:
        return _read_report(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"the body is not the report of a device: {error}") from error
