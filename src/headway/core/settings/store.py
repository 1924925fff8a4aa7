"""Addresses of the stores, for projects that several machines share; a password is refused in an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class StoreSection(SettingsSection, frozen=True, kw_only=True):
    """Addresses of the stores, for projects that several machines share; a password is refused in an address."""

    table: ClassVar[str] = "store"
    secret_variables: ClassVar[tuple[str, ...]] = ("HEADWAY_STORE_(FEED|ONLINE)_PASSWORD",)

    secrets: ClassVar[Mapping[str, str]] = {
        "state": "PGPASSWORD, PGPASSFILE or ~/.pgpass",
        "blobs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of AWS credentials",
        "logs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of AWS credentials",
        "feed": "HEADWAY_STORE_FEED_PASSWORD, or HEADWAY_STORE_FEED_PASSWORD_FILE",
        "online": "HEADWAY_STORE_ONLINE_PASSWORD, or HEADWAY_STORE_ONLINE_PASSWORD_FILE",
    }

    state: Annotated[
        str,
        about(
            "Pointers and records: postgresql://USER@HOST/DATABASE, or file:///FOLDER that machines share; empty: "
            "SQLite in the folder of [project] state."
        ),
    ] = ""
    blobs: Annotated[
        str, about("Models and releases: s3://BUCKET/PREFIX; empty: files in the folder of [project] state.")
    ] = ""
    logs: Annotated[
        str, about("Prediction log and labels: s3://BUCKET/PREFIX; empty: files in the folder of [project] state.")
    ] = ""
    feed: Annotated[
        str,
        about("Change feed and rate limits over all servers, all rebuildable: redis://HOST:PORT/DB; empty: none."),
    ] = ""
    online: Annotated[
        str,
        about(
            "Online features, in Redis or Valkey: redis://HOST:PORT/DB; empty: SQLite in the folder of [project] state."
        ),
    ] = ""


plugin = StoreSection
