"""Read what is kept of one key, for the person who asks: rows from the same stores that an erasure goes through."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any

from headway.core.config import Config
from headway.core.erasure import Residual, SearchedStore
from headway.core.errors import DataError
from headway.core.record import Record
from headway.data.personal.policy import load_hash_key
from headway.data.settings.personal import PersonalSection
from headway.data.settings.provenance import ProvenanceSection
from headway.monitoring.erasure.erase import BEYOND_REACH
from headway.monitoring.erasure.row_stores import Reach, RowStore, open_row_stores, search_stores
from headway.registry.project import Project
from headway.registry.settings.record import RecordSection


class LocationRows(Record, frozen=True, kw_only=True):
    """The rows of one location, such as `log/flights`, as they are stored."""

    location: str
    rows: tuple[dict[str, Any], ...]


class AccessExport(Record, frozen=True, kw_only=True):
    """What is kept of one key.

    `rows` are those of the key by location; `mentions` are other stores that hold its bytes, how often and why.
    `searched` says which stores were read, and which did not answer. `information` is what the project declares, and
    `not_declared` what it does not.
    """

    name: str
    key: str
    at: str
    rows: tuple[LocationRows, ...]
    mentions: tuple[Residual, ...]
    searched: tuple[SearchedStore, ...]
    information: dict[str, Any]
    not_declared: tuple[str, ...]
    message: tuple[str, ...] = BEYOND_REACH

    @property
    def n_rows(self) -> int:
        """Number of rows over all locations."""
        return sum(len(part.rows) for part in self.rows)

    @property
    def is_complete(self) -> bool:
        """Whether every store was reached."""
        return all(store.is_reached for store in self.searched)


def read_kept_rows(project: Project, key: str) -> AccessExport:
    """Read every row of a key, as it is and as the hash that `[personal] hash` makes of it; nothing is changed.

    Raises DataError for a key of spaces. A store that does not answer is named as not reached.
    """
    if not key.strip():
        raise DataError("a key of spaces is not a key", hint="headway access KEY")
    keys = (key, load_hash_key(project.config).hash(key))
    stores, reach = open_row_stores(project), Reach()
    found_rows = [row for store in stores for row in reach.attempt(store, partial(_rows, store, keys)) or []]
    ordered = sorted(found_rows, key=lambda row: row[0])
    by_location = tuple(
        LocationRows(location=location, rows=tuple(row for _, row in group))
        for location, group in groupby(ordered, key=lambda row: row[0])
    )
    searched, found = search_stores(stores, keys, reach)
    locations = {part.location for part in by_location}
    declared = _information(project.config)
    return AccessExport(
        name=project.name,
        key=key,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=by_location,
        mentions=tuple(residual for residual in found if residual.location not in locations),
        searched=searched,
        information={name: value for name, value in declared.items() if value},
        not_declared=tuple(name for name, value in declared.items() if not value),
    )


def _rows(store: RowStore, keys: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    return list(store.read(keys))


def _information(config: Config) -> dict[str, Any]:
    """Return the information for the person next to the rows, as the project declares it."""
    record, personal = config[RecordSection], config[PersonalSection]
    return {
        "purpose": record.purpose,
        "recipients": record.recipients,
        "retention": personal.retention,
        "rights": record.rights,
        "sources": config[ProvenanceSection].made_from,
        "transfers": record.transfers,
        "human_oversight": record.oversight,
        "controller": record.controller,
        "purpose_of_columns": personal.purpose,
        "legal_basis_of_columns": personal.legal_basis,
    }
