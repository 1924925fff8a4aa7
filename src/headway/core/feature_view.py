"""Feature view: features that models of a team share, as declared, numbered, and signed with a release."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headway.core.record import Record, StoredRecord, canonical, digest_of

OPERATIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "modulo", "power"), (2, 2)),
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), (2, 2)),
    **dict.fromkeys(("and", "or"), (2, 16)),
    **dict.fromkeys(("not", "negate", "abs", "sign", "sqrt", "exp", "log", "log1p", "floor", "ceil"), (1, 1)),
    **dict.fromkeys(("sin", "cos", "is_null", "lower", "upper", "length"), (1, 1)),
    **dict.fromkeys(("year", "month", "day", "weekday", "hour", "minute", "second", "epoch_s"), (1, 1)),
    **dict.fromkeys(("minimum", "maximum", "coalesce"), (2, 16)),
    "round": (2, 2),
    "in": (2, 65),
    "if": (3, 3),
}
"""The operations of an expression, and the least and the largest number of their arguments."""
MAX_NODES = 1_000
"""Largest number of nodes of an expression."""
MAX_DEPTH = 32
"""Largest depth of an expression."""
FeatureType = Literal["number", "integer", "boolean", "string", "datetime"]
WhenMissing = Literal["null", "default", "refuse"]
AggregationFunction = Literal["count", "sum", "mean", "min", "max", "last", "distinct"]
HOUR_S, DAY_S = 3_600, 86_400
WINDOW_S = (HOUR_S, 90 * DAY_S)
"""The shortest and the longest window of an aggregation, seconds."""


class ColumnValue(Record, frozen=True, kw_only=True, tag_field="node", tag="column"):
    """Value of a column: of the source, of the request, or another feature of the same view."""

    name: str


class ConstantValue(Record, frozen=True, kw_only=True, tag_field="node", tag="constant"):
    """A constant; None is a missing value."""

    value: bool | int | float | str | None


class FunctionCall(Record, frozen=True, kw_only=True, tag_field="node", tag="call"):
    """A function of `OPERATIONS` and its arguments; a missing argument gives a missing value, as in SQL."""

    function: str
    arguments: tuple[ColumnValue | ConstantValue | FunctionCall, ...]


Expression = ColumnValue | ConstantValue | FunctionCall


class FeatureSource(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The table that a view is made of: one row an observation of an entity.

    `location` and `query` are as in `[data] source` and `query`; a relative path begins at the folder of
    `features.toml`. `event_time` is the column with the time at which a row became true; without it the rows are always
    true. `created_time` is when the row was stored, if that can be later: a join does not see it before. Times without
    a zone are of `time_zone`.
    """

    location: str
    query: str = ""
    event_time: str = ""
    created_time: str = ""
    time_zone: str = "UTC"


class Aggregation(Record, frozen=True, kw_only=True, omit_defaults=True):
    """An aggregation of `column` over the rows of an entity with event times in (t - window, t]; `count` has no column.

    `last` is the value of the newest row, `distinct` the number of different values; missing values are left out.
    """

    function: AggregationFunction
    window_s: Annotated[int, Meta(ge=WINDOW_S[0], le=WINDOW_S[1])]
    column: str = ""


class Feature(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One feature: a column of the source with its name, an expression, or an aggregation.

    `when_missing` is what a server does with a value that is missing, or older than the view's `ttl_s`: pass a missing
    value to the model (`null`), the `default`, or `refuse` the row. All three are counted.
    """

    name: str
    dtype: FeatureType = "number"
    expression: ColumnValue | ConstantValue | FunctionCall | None = None
    aggregation: Aggregation | None = None
    when_missing: WhenMissing = "null"
    default: bool | int | float | str | None = None


class FeatureView(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Features of one kind of entity, from one source; with `version`, the definition is immutable.

    Attributes
    ----------
    name : str
        Name of the view, unique in a store.
    table : str
        Table of the online store; by default NAME.vVERSION.
    columns : tuple of str
        The features that a model reads of it; empty: all. A view without `features` was written by an earlier headway:
        its table has these columns as numbers, by the key of the request.
    version : int
        Number of the definition, from 1; 0 if it was never applied.
    entities : tuple of str
        Columns that identify an entity, in the source and in a request.
    source : FeatureSource, optional
        None for features of the request alone.
    sql : str
        A query over the table `source` that DuckDB runs before the features are computed; empty: none.
    ttl_s : float
        Age after which a value is stale, seconds; 0: never.
    features : tuple of Feature
        The features, in the order of a row of the online store.
    """

    name: str
    table: str = ""
    columns: tuple[str, ...] = ()
    version: int = 0
    entities: tuple[str, ...] = ()
    source: FeatureSource | None = None
    sql: str = ""
    ttl_s: Annotated[float, Meta(ge=0)] = 0.0
    features: tuple[Feature, ...] = ()
    description: str = ""
    owner: str = ""

    @property
    def reference(self) -> str:
        """Name and version: `weather@v2`."""
        return f"{self.name}@v{self.version}" if self.version else self.name

    @property
    def online_table(self) -> str:
        """Name of its table in the online store."""
        return self.table or f"{self.name}.v{self.version}"

    @property
    def states_table(self) -> str:
        """Name of the table with the states of its windows in the online store."""
        return f"{self.online_table}.windows"

    @property
    def has_rows(self) -> bool:
        """True if some of the features that are read are stored as rows."""
        if not self.features:
            return True
        return self.source is not None and any(
            feature.aggregation is None for feature in self.features if feature.name in self.feature_names
        )

    @property
    def has_windows(self) -> bool:
        """True if some of the features that are read are windowed aggregations, answered from states."""
        return any(feature.aggregation for feature in self.features if feature.name in self.feature_names)

    @property
    def online_tables(self) -> tuple[str, ...]:
        """Names of the tables in the online store that are read: of rows, of states, or both."""
        rows = (self.online_table,) if self.has_rows else ()
        return (*rows, self.states_table) if self.has_windows else rows

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that a model reads of it."""
        return self.columns or tuple(feature.name for feature in self.features)

    @property
    def is_on_demand(self) -> bool:
        """True if its features are computed from the request, and from features of other views."""
        return bool(self.features) and self.source is None

    @property
    def digest(self) -> str:
        """Digest of what the values depend on: neither version and table, nor the columns that one model reads."""
        content = {
            "entities": self.entities,
            "source": self.source,
            "sql": self.sql,
            "ttl_s": self.ttl_s,
            "features": self.features,
        }
        return digest_of(canonical(content))


class FeatureViewVersion(StoredRecord, frozen=True, kw_only=True):
    """One version of a view in the catalog of a store, under the name of the view: who applied it, and when."""

    name: str
    view: FeatureView
    who: str
    at: str
