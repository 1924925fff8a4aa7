"""A fleet of devices: what a device polls, and how long a publisher's signatures hold."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import DURATION, SettingsSection


class FleetSection(SettingsSection, frozen=True, kw_only=True):
    """A fleet of devices: what a device polls, and how long a publisher's signatures hold."""

    table: ClassVar[str] = "fleet"

    url: Annotated[
        str,
        about("On a device: the folder that `headway fleet publish` wrote, over HTTP; empty: this machine polls none."),
    ] = ""
    device: Annotated[
        str, about("On a device: its name, by whose hash it loads a staged release; empty: its host name.")
    ] = ""
    pointer: Annotated[str, about("Pointer that devices follow.")] = "live"
    poll_s: Annotated[float, Meta(description="On a device: seconds between two polls.", ge=0.1)] = 60.0
    report_url: Annotated[
        str,
        about(
            "On a device: address of the `headway serve` that takes its reports and its prediction log; empty: none."
        ),
    ] = ""
    key_file: Annotated[
        str, about("On a device: file with its API key, which has its name and the scope `device`.")
    ] = "device_key.txt"
    log_mb: Annotated[
        int, Meta(description="On a device: size of the prediction log, above which its oldest segments go.", ge=1)
    ] = 256
    device_mb_per_day: Annotated[
        int, Meta(description="On the server: size of the log that it accepts of one device on a day (UTC), MB.", ge=1)
    ] = 64
    retrain: Annotated[
        bool, about("On the server: retrain also by rows that devices logged, not only by those of servers.")
    ] = False
    valid: Annotated[str, Meta(description="How long devices believe a timestamp: 1d, 12h, 30m.", pattern=DURATION)] = (
        "1d"
    )
    key_valid: Annotated[
        str, Meta(description="How long a key of timestamps may sign: 30d, 12h.", pattern=DURATION)
    ] = "30d"


plugin = FleetSection
