"""Value replay: logged values of feature views that differ from what their requests should have seen."""

from __future__ import annotations

from typing import Literal

from headway.core.evidence import Finding
from headway.core.record import Record, StoredRecord

SkewKind = Literal["order", "time zone", "version", "unit", "null", "entity", "future", "stale", "unexplained"]
KINDS: dict[SkewKind, str] = {
    "order": "the values of several features are in another order",
    "time zone": "times are of another time zone",
    "version": "the values are those of another version of the view",
    "future": "the values were not known yet",
    "stale": "newer values were known",
    "unit": "the values have another unit",
    "null": "values are missing that are known, or the reverse",
    "entity": "the values are those of another entity",
    "unexplained": "the values differ",
}
"""What each kind of skew means, in the order in which causes are preferred that explain as much."""
ReplayStatus = Literal["equal", "differs", "unknown"]


class SkewExample(Record, frozen=True, kw_only=True):
    """One value that differs: request in the log, its time in microseconds since 1970, and both values.

    None is a missing value. A category is its rank, as the model reads it.
    """

    request: int
    at_us: int
    feature: str
    logged: float | None
    expected: float | None


class ValueSkew(Record, frozen=True, kw_only=True):
    """Values of a view that differ for one reason, in `n_rows` of the rows that were compared.

    The first request that saw one was at `since_us`, the last at `until_us`. A replay of new requests takes `since_us`
    from the replay before if that found the same skew.
    """

    view: str
    kind: SkewKind
    features: tuple[str, ...]
    n_rows: int
    since_us: int
    until_us: int = 0
    detail: str = ""
    examples: tuple[SkewExample, ...] = ()


class ViewReplay(Record, frozen=True, kw_only=True):
    """Comparison of the logged values of one view.

    `n_lagging` counts rows whose newer value was known for no longer than the lag that is allowed; they are no skew.
    """

    view: str
    n_rows: int
    n_lagging: int = 0
    skews: tuple[ValueSkew, ...] = ()


class ValueReplay(StoredRecord, frozen=True, kw_only=True):
    """Replay of the views of a release over the rows that were logged in a span of time, microseconds since 1970.

    `unknown` has the reason for each view that could not be replayed; `findings` name each of these (O014), and each
    skew (O013). `n_left_out` counts older rows of the span that
    were not compared because there were too many.
    """

    name: str
    release: str
    at: str
    since_us: int
    until_us: int
    n_rows: int
    views: tuple[ViewReplay, ...] = ()
    unknown: dict[str, str] = {}
    n_left_out: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> ReplayStatus:
        """Whether values differ; unknown if none is known to differ, and a view or all rows could not be compared."""
        if self.skews:
            return "differs"
        return "unknown" if self.unknown or not self.views or not self.n_rows else "equal"

    @property
    def skews(self) -> tuple[ValueSkew, ...]:
        """The skews of all views, those with most rows first."""
        return tuple(sorted((skew for view in self.views for skew in view.skews), key=lambda skew: -skew.n_rows))
