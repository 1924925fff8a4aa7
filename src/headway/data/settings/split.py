"""Periods of the time column, [from, to): train for the model, validation for the search, test for the winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class SplitSection(SettingsSection, frozen=True, kw_only=True):
    """Periods of the time column, [from, to): train for the model, validation for the search, test for the winner."""

    table: ClassVar[str] = "split"

    former_names: ClassVar[Mapping[str, str]] = {"choose": "validation"}

    train: Annotated[tuple[str, ...], about("Training period.")] = ()
    validation: Annotated[tuple[str, ...], about("Period on which the search evaluates variants, without limit.")] = ()
    test: Annotated[
        tuple[str, ...], about("Period on which the winner is evaluated; every evaluation is counted.")
    ] = ()
    live: Annotated[tuple[str, ...], about("Period after the release, replayed as traffic.")] = ()
    shares: Annotated[
        tuple[float, float, float],
        about(
            "Without periods: shares of the rows for train, validation and test, in order of time, without splitting "
            "groups."
        ),
    ] = (0.6, 0.2, 0.2)


plugin = SplitSection
