"""Source of the data, and the role of each column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection
from headway.core.urls import without_password


class DataSection(SettingsSection, frozen=True, kw_only=True):
    """Source of the data, and the role of each column."""

    table: ClassVar[str] = "data"

    former_names: ClassVar[Mapping[str, str]] = {
        "lists": "query_id",
        "people": "sensitive_features",
        "weight": "sample_weight",
    }

    source: Annotated[
        str,
        about("Parquet, CSV or Arrow file, a folder of them, a database URL, or module:function that returns a table."),
    ] = ""
    query: Annotated[str, about("SQL query that returns the table, for a database source.")] = ""
    missing: Annotated[tuple[str, ...], about("Strings that mean a missing value, such as NA.")] = ()
    max_rows: Annotated[
        int,
        Meta(
            description="Rows that `headway check` and `watch` hold in memory: all rows of a larger table are counted, "
            "and this many sampled, in whole groups; 0: 100 million values, such as 5 million rows of 20 columns.",
            ge=0,
        ),
    ] = 0
    contract: Annotated[
        str, about("File of the data contract: types, ranges and categories of the columns; optional.")
    ] = "contract.toml"
    task: Annotated[str, about("Task: binary, multiclass, multilabel, regression, ranking or embedding.")] = "binary"
    target: Annotated[str, about("Column to predict; in a binary task, 1 is the positive class.")] = ""
    positive: Annotated[str, about("Value of the positive class of a binary target; empty: 1.")] = ""
    classes: Annotated[
        tuple[str, ...],
        about("Classes of a multiclass target, or labels of a multilabel one, in order; empty: numbered from 0."),
    ] = ()
    time: Annotated[str, about("Time column; the split into periods uses it.")] = ""
    decision: Annotated[
        str, about("Time of the prediction, such as `2h before departure`; empty: the time column.")
    ] = ""
    groups: Annotated[
        str,
        about(
            "Column of groups of dependent rows, such as days; `COLUMN.day` for the days of a time column. Confidence "
            "intervals resample groups."
        ),
    ] = ""
    query_id: Annotated[str, about("Column of the query whose rows are ranked together; empty: the groups column.")] = (
        ""
    )
    slices: Annotated[
        tuple[str, ...],
        about(
            "Columns whose values are slices, each evaluated separately; `COLUMN.language` for the languages of a "
            "column of texts."
        ),
    ] = ()
    sensitive_features: Annotated[
        tuple[str, ...], about("Columns of groups of people, between which fairness gaps are measured.")
    ] = ()
    text: Annotated[
        tuple[str, ...],
        about("Columns of texts, such as messages: features that are read word by word, not categories."),
    ] = ()
    sample_weight: Annotated[str, about("Column of sample weights.")] = ""
    ignore: Annotated[tuple[str, ...], about("Columns that are not used.")] = ()
    key: Annotated[str, about("Column that identifies a row in the table and in its snapshot; not a feature.")] = ""
    snapshot: Annotated[
        str,
        about("Table as it was at the time of the decisions, a file or module:function; check D033 compares it."),
    ] = ""
    label_delay: Annotated[str, about("Delay between a row and its label: 1d, 12h, 30m; empty: none.")] = ""
    known: Annotated[
        dict[str, str], about("Time at which each column is known: request, outcome, or the name of a time column.")
    ] = {}

    @property
    def name(self) -> str:
        """Source without its password."""
        return without_password(self.source)


plugin = DataSection
