"""The search for a faster variant."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class OptimizeSection(SettingsSection, frozen=True, kw_only=True):
    """The search for a faster variant."""

    table: ClassVar[str] = "optimize"

    objective: Annotated[str, about("Measure to minimize among feasible variants.")] = "latency.one_row"
    transforms: Annotated[tuple[str, ...], about("Transforms to combine, in this order; empty: all.")] = ()
    families: Annotated[
        tuple[str, ...], about("Model families to train as further candidates: forest, histgb, lightgbm, logistic.")
    ] = ()
    without: Annotated[
        tuple[str, ...], about("Features, or feature views with all of theirs, that the variants are to do without.")
    ] = ()
    defer: Annotated[
        tuple[str, ...],
        about("Feature views, or features, that are looked up only where a first model without them does not decide."),
    ] = ()
    max_changed: Annotated[
        float,
        Meta(
            description="Largest share that the full model may decide otherwise, of the rows that the first model of "
            "`defer` answers, and of all rows for `pine`.",
            gt=0,
            lt=1,
        ),
    ] = 0.01
    private: Annotated[
        bool,
        about(
            "Also try variants whose answers say less: rounded, flattened, of the top classes, or learned out of fold; "
            "a rule on `privacy.` or `extraction.` does so too."
        ),
    ] = False
    budget_s: Annotated[float, about("Time limit of the search with its verdict, seconds; 0: no limit.")] = 0.0
    wait_quiet: Annotated[
        bool, about("Wait until other processes leave the cores before speed is measured, at most 10 minutes.")
    ] = False


plugin = OptimizeSection
