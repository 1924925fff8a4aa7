"""Signing key of the publisher, and public keys that a server trusts; both files lie outside the store."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class TrustSection(SettingsSection, frozen=True, kw_only=True):
    """Signing key of the publisher, and public keys that a server trusts; both files lie outside the store."""

    table: ClassVar[str] = "trust"

    publisher_key: Annotated[str, about("File of the private key that signs releases; keep it off servers.")] = (
        "~/.config/headway/publisher.pem"
    )
    trusted_keys: Annotated[
        str, about("File of trusted public keys, one per line; only releases that they signed are loaded.")
    ] = "trusted_keys.txt"
    operator_key: Annotated[
        str, about("File of the private key by which the dashboard rolls back and approves; it cannot publish.")
    ] = "~/.config/headway/operator.pem"
    operator_keys: Annotated[
        str, about("File of public keys that may move a pointer back to a release that it had, and sign approvals.")
    ] = "operator_keys.txt"
    timestamp_key: Annotated[
        str, about("File of the private key that signs the timestamps of a fleet; a pointer says until when.")
    ] = "~/.config/headway/timestamp.pem"
    last_seen: Annotated[
        str,
        about(
            "File with the last pointer updates that this machine has seen, which detects an old copy of the store; "
            "empty: next to the trusted keys."
        ),
    ] = ""


plugin = TrustSection
