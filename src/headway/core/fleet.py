"""Fleet: what devices poll, and what a device keeps of it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headway.core.errors import Refused
from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

PollRefusal = Literal[
    "replay",
    "expired",
    "mixed",
    "truncated",
    "oversized",
    "wrong key",
    "changed",
    "unreadable",
    "other pointer",
    "clock",
    "self-test",
    "unreachable",
]
"""Why a device loaded nothing new. All but `unreachable` hint at an attack or a mistake of the publisher."""

Text = Annotated[str, Meta(max_length=256, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
"""A text without control characters, because the terminal that shows it would obey them."""


class PollRefused(Refused):
    """A device refused what it polled, for a named reason."""

    def __init__(self, reason: PollRefusal, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.reason: PollRefusal = reason


class FleetRelease(Record, frozen=True, kw_only=True):
    """A release that devices load: its digest, the size in bytes of each of its files, and what its verdict rests on.

    `evidence` and `policy` are the digests of the evidence in the release and of the rules of its verdict.
    """

    digest: str
    sizes: dict[str, int]
    evidence: str
    policy: str


class FleetPointer(StoredRecord, frozen=True, kw_only=True):
    """What the devices of `name@pointer` serve, signed by a publisher.

    `number` counts these records from 1. Devices whose hash by `salt` is below `share` serve `staged`, all others
    `release`. `timestamp_key` signs the timestamps of this record until `key_expires`.
    """

    name: str
    pointer: str
    number: int
    at: str
    who: str
    why: str
    release: FleetRelease
    staged: FleetRelease | None = None
    share: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    salt: str = ""
    timestamp_key: str
    key_expires: str


class FleetTimestamp(StoredRecord, frozen=True, kw_only=True):
    """The current pointer of a fleet, by digest and size of its file; signed often, by a key that can sign only this.

    `number` is larger than that of every earlier timestamp of the same key.
    """

    name: str
    pointer: str
    number: int
    at: str
    expires: str
    digest: str
    size_bytes: int


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a device reports after a poll: what it serves, and why it refused what it polled (empty: it did not).

    `number` and `timestamp` are those of its pointer and timestamp, `headway` is the version of its software, and
    `waiting` counts the segments of its log that it has not shipped yet. A server ignores fields that it does not know.
    """

    device: Text
    name: Text
    pointer: Text
    release: Text
    number: int
    timestamp: int
    reason: Text
    message: Annotated[str, Meta(max_length=1_024)]
    at: Text
    headway: Text = ""
    waiting: int = 0


class DeviceStatus(StoredRecord, frozen=True, kw_only=True):
    """What a server knows of a device: its last report, and what it shipped of its log.

    `rows` and `errors` count the rows that it shipped, and those of them that failed. `day_bytes` were shipped on `day`
    (UTC). `accepted` names the last segments, as `DIGITS/SEGMENT`, oldest first: one that comes again is not stored
    again. `refused` counts segments that were not accepted, and `refusal` says why the last was not.
    """

    name: str
    device: str
    report: DeviceReport | None = None
    reported_at: str = ""
    rows: int = 0
    errors: int = 0
    day: str = ""
    day_bytes: int = 0
    accepted: tuple[str, ...] = ()
    refused: int = 0
    refusal: str = ""


class DeviceComparison(Record, frozen=True, kw_only=True):
    """Sampled rows that a device shipped, and how many of them the same release answers otherwise on this machine."""

    device: str
    rows: int
    differing: int


class FleetComparison(StoredRecord, frozen=True, kw_only=True):
    """What devices answered, compared with what their releases answer here.

    `share` is the share of differing rows, with devices as groups; None without rows.
    """

    name: str
    at: str
    devices: tuple[DeviceComparison, ...] = ()
    share: Measurement | None = None


class DeviceState(StoredRecord, frozen=True, kw_only=True):
    """What a device keeps of its fleet: the last pointer and timestamp that it verified, and the release it serves.

    `content` is the file of the pointer. `at` is the latest time that a timestamp was signed at: a clock that is behind
    it is wrong. `tag` is the entity tag of the timestamp (HTTP ETag), and `url` is where it was read.
    """

    name: str
    pointer: str
    url: str = ""
    tag: str = ""
    content: str = ""
    number: int = 0
    timestamp: int = 0
    timestamp_digest: str = ""
    timestamp_key: str = ""
    at: str = ""
    expires: str = ""
    release: str = ""
