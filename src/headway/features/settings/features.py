"""Feature views that the model reads: shared features, joined as they were known at the time of the decision."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class FeaturesSection(SettingsSection, frozen=True, kw_only=True):
    """Feature views that the model reads: shared features, joined as they were known at the time of the decision."""

    table: ClassVar[str] = "features"

    views: Annotated[
        tuple[str, ...],
        about(
            "Views whose features the model reads: `weather`, the newest version at training, or `weather@v2`. The "
            "table of [data] has their entities."
        ),
    ] = ()
    max_us_per_percent: Annotated[
        float,
        Meta(
            description="CPU time a row that the look-up of a view may take for each percent of the error that it is "
            "worth, microseconds: above it `headway features worth` proposes to remove the view as too dear.",
            gt=0,
        ),
    ] = 5.0
    max_lag: Annotated[
        str,
        Meta(
            description="For value replay: how long a value may be known before the online store has it, such as 1h. "
            "Empty: the interval of the task `materialize` and an eighth, if a schedule runs it, else 0.",
            pattern=r"^([1-9]\d*[mhd])?$",
        ),
    ] = ""


plugin = FeaturesSection
