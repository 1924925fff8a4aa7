"""What people declare for the compliance record, and how long it is kept."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class RecordSection(SettingsSection, frozen=True, kw_only=True):
    """What people declare for the compliance record, and how long it is kept."""

    table: ClassVar[str] = "record"

    purpose: Annotated[str, about("Intended purpose of the model, and who uses its answers.")] = ""
    provider: Annotated[str, about("Provider of the system: name and address.")] = ""
    controller: Annotated[str, about("Controller of the personal data: name and contact.")] = ""
    officer: Annotated[str, about("Data protection officer: name and contact.")] = ""
    people: Annotated[tuple[str, ...], about("Categories of people whose data is used, such as customers.")] = ()
    recipients: Annotated[tuple[str, ...], about("Categories of recipients of the data and of the answers.")] = ()
    transfers: Annotated[str, about("Transfers to other countries and their safeguards, or `none`.")] = ""
    necessity: Annotated[str, about("Why the data is necessary for the purpose, and in proportion to it.")] = ""
    oversight: Annotated[str, about("How people oversee the model and can overrule it.")] = ""
    risk_management: Annotated[str, about("Where the risk management system is described.")] = ""
    changes: Annotated[str, about("Changes of the system that were planned and assessed in advance.")] = ""
    standards: Annotated[tuple[str, ...], about("Standards and specifications that were applied.")] = ()
    declaration: Annotated[str, about("Where the EU declaration of conformity is kept, or `none`.")] = ""
    rights: Annotated[str, about("How people exercise their rights, and where they complain.")] = ""
    retention: Annotated[
        str,
        Meta(
            description="How long a compliance record is kept, such as 3653d; empty: undeclared.", pattern=r"^(\d+d)?$"
        ),
    ] = ""
    legal_hold: Annotated[
        str,
        about("Why nothing may be deleted now, such as a proceeding; it stops retention and erasure. Empty: no hold."),
    ] = ""


plugin = RecordSection
