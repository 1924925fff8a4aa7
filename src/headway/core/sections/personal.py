"""The section `[personal]` of headway.toml: personal data, and retention of log, labels and quarantine."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class PersonalSection(Record, frozen=True, kw_only=True):
    """Handling of personal data, by column or by kind: email, phone, card, iban, national_id, ip."""

    drop: Annotated[tuple[str, ...], about("Columns or kinds to drop when data is loaded.")] = ()
    hash: Annotated[
        tuple[str, ...],
        about("Columns or kinds to replace by a keyed hash, which still allows joins and groups."),
    ] = ()
    keep: Annotated[dict[str, str], about("Columns or kinds to keep unchanged, each with a reason.")] = {}
    key: Annotated[str, about("File of the hash key, created on first use; it must lie outside the store.")] = (
        "~/.config/headway/personal.key"
    )
    retention: Annotated[
        str,
        Meta(
            description="Retention of the prediction log, labels and quarantine: 90d, 12h; empty: unlimited.",
            pattern=r"^(\d+[dhm])?$",
        ),
    ] = ""
