"""`[personal]`: handling of columns with personal data, and retention of log, labels and quarantine."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class PersonalSection(Record, frozen=True, kw_only=True):
    """Handling of personal data; a name is a column, or a kind: email, phone, card, iban, national_id, ip."""

    drop: Annotated[tuple[str, ...], about("Columns or kinds that are left out when data is opened.")] = ()
    hash: Annotated[
        tuple[str, ...],
        about("Columns or kinds of which a keyed hash is left: it joins and groups, and tells nothing."),
    ] = ()
    keep: Annotated[dict[str, str], about("Columns or kinds that stay as they are, each with the reason why.")] = {}
    key: Annotated[str, about("File of the key of the hashes, made when first needed; never in the store.")] = (
        "~/.config/headway/personal.key"
    )
    retention: Annotated[
        str,
        Meta(
            description="How long the log, labels and quarantine are kept: 90d, 12h; empty sets no end.",
            pattern=r"^(\d+[dhm])?$",
        ),
    ] = ""
