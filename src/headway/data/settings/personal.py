"""Handling of personal data, by column or by kind: email, phone, card, iban, national_id, ip."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection

LegalBasis = Literal[
    "consent", "contract", "legal obligation", "vital interests", "public task", "legitimate interests"
]
"""Legal bases of Article 6(1) of the GDPR, (a) to (f)."""


class PersonalSection(SettingsSection, frozen=True, kw_only=True):
    """Handling of personal data, by column or by kind: email, phone, card, iban, national_id, ip."""

    table: ClassVar[str] = "personal"

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
    purpose: Annotated[
        dict[str, str],
        about('Purpose of each column, such as { age = "limits of the tariff" }; "*": all other columns.'),
    ] = {}
    legal_basis: Annotated[
        dict[str, LegalBasis], about('Legal basis of each column with personal data, by the GDPR; "*": all others.')
    ] = {}


plugin = PersonalSection
