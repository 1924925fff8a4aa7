"""Full evaluation of the winner of a search."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class EvaluateSection(SettingsSection, frozen=True, kw_only=True):
    """Full evaluation of the winner of a search."""

    table: ClassVar[str] = "evaluate"

    budget_s: Annotated[float, Meta(description="Time limit of one audit, seconds.", gt=0)] = 60.0
    audits: Annotated[
        tuple[str, ...],
        about(
            "Audits that `headway evaluate` runs in addition to the default ones, such as `membership`; an audit that "
            "a rule of the policy needs runs anyway."
        ),
    ] = ()
    rate_per_s: Annotated[
        float, Meta(description="Mean request rate of the open-loop test in the audit `load`, requests/s.", gt=0)
    ] = 200.0
    together: Annotated[
        tuple[tuple[str, ...], ...], about("Sets of features that the audit `ablation` removes together.")
    ] = ()
    paraphrases: Annotated[
        str,
        about(
            "csv file with columns `phrase` and `paraphrase`, for the audit `robustness` of texts; empty: only a small "
            "table in English and German."
        ),
    ] = ""


plugin = EvaluateSection
