"""Work that `headway run` repeats."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core import plugins
from headway.core.record import about
from headway.core.settings_section import DURATION, SettingsSection


class ScheduleSection(SettingsSection, frozen=True, kw_only=True):
    """Work that `headway run` repeats."""

    table: ClassVar[str] = "schedule"

    every: Annotated[str, Meta(description="Interval of each task: 1d, 12h, 30m.", pattern=DURATION)] = "1d"
    intervals: Annotated[
        dict[str, Annotated[str, Meta(pattern=DURATION)]],
        about('Interval of single tasks in place of `every`, such as { labels = "1h" }.'),
    ] = {}
    tasks: Annotated[
        tuple[str, ...],
        about("Tasks, run in this order; one whose settings are empty is left out. Empty: all that headway brings."),
    ] = ()
    labels: Annotated[
        str, about("File of labels (csv or parquet), or a folder of them; each is imported once. Empty: no import.")
    ] = ""
    source: Annotated[
        Literal["table", "log"], about("Rows that `watch` reads: the project's table, or the prediction log.")
    ] = "table"
    window: Annotated[
        str, about("Length of a period that `watch` judges: 1mo, 1q, 28d; for the log also 1d or 1h.")
    ] = "1mo"
    task_hours: Annotated[
        float, Meta(description="Time after which a task is ended and counts as failed, hours.", gt=0)
    ] = 12.0
    alerts_s: Annotated[float, Meta(description="Interval at which alerts are judged and sent, seconds.", gt=0)] = 60.0

    def __post_init__(self) -> None:
        plugins.require("task", self.tasks, field="tasks")


plugin = ScheduleSection
