"""What a source, a check and a drift detector are, and the contexts that they work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from headway.core import plugins
from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.labeling import Labeling
from headway.core.monitoring import Drift
from headway.core.variant import Signature

if TYPE_CHECKING:
    import polars

    from headway.core.contracts import Bools, Floats, Ints


class Source(Protocol):
    """Read a table from a database URL and a query; the plug-in's name is the scheme of its URLs (`sqlite:`)."""

    def __call__(self, url: str, query: str, *, folder: Path) -> polars.DataFrame:
        """Return the rows of the query; a relative path in the URL starts in `folder`, and nothing is written.

        Raises DataError with a hint if the database cannot be opened or rejects the query; the caller hides the
        password of the URL.
        """
        ...


@runtime_checkable
class BatchSource(Source, Protocol):
    """A source that yields its rows in batches, so that a result larger than memory can be checked.

    `strings_hold_dates` means that the call parses the string columns of dates, and the batches do not.
    """

    strings_hold_dates: bool

    def batches(self, url: str, query: str, *, folder: Path) -> Iterator[polars.DataFrame]:
        """Yield the rows that the call returns, in batches whose columns may differ in the size of their types."""
        ...


def _no_table() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a check works with.

    Attributes
    ----------
    dataset
        The table with its roles.
    periods
        Its train, validation, test and live; empty if it is not split.
    requests
        Function that returns the requests of servers, one column per feature, with their time in ASKED_AT; None if
        there were none.
    config
        Configuration of the project.
    detector
        Drift detector for two windows of rows, if there is one.
    labeling
        Agreement and delays of the labels.
    """

    dataset: Dataset
    periods: Mapping[str, Dataset] = field(default_factory=dict)
    requests: Callable[[], polars.DataFrame | None] = _no_table
    config: Config = field(default_factory=Config)
    detector: Detector | None = None
    labeling: Labeling = field(default_factory=Labeling)


class Check(Protocol):
    """Find problems in data."""

    def __call__(self, context: CheckContext) -> Sequence[Finding]:
        """Return findings of the check's code, none if all is well; change nothing.

        Raises
        ------
        NotApplicable
            If the check cannot judge this dataset.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows of one period: float64 of shape (n, d), missing as NaN, categories as ranks; `groups` int64 of shape (n,).

    Rows of one group are dependent; groups are numbered in the order of time, such as days since some day. `weights`
    float64 of shape (n,) are the numbers of requests that the rows of a log that samples stand for, None for one each.
    `days` int64 of shape (n,) are the days since 1970 of the rows, None if they are not known.
    """

    rows: Floats
    groups: Ints
    weights: Floats | None = None
    days: Ints | None = None

    def by_day(self) -> Window | None:
        """Return the rows with those of one day as one group; None if days are not known."""
        return None if self.days is None else replace(self, groups=self.days)

    def subset(self, chosen: Bools) -> Window:
        """Return the chosen rows, bool (n,)."""
        return Window(
            rows=self.rows[chosen],
            groups=self.groups[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            days=None if self.days is None else self.days[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Two periods to compare, with the columns of the signature.

    `run` is the number of neighboring groups that a detector permutes together, because they are dependent and patterns
    repeat: 7 for days, 1 if groups were assigned at random. `alpha` is the allowed false-alarm rate. `between` holds
    the rows after `before` and before `after`, if they are known. `derived` names features that are computed from texts
    and answers, on which no rule of inputs holds; `sentences` say how some features changed, by name.
    """

    before: Window
    after: Window
    signature: Signature
    run: int = 7
    alpha: float = 0.05
    between: Window | None = None
    derived: tuple[str, ...] = ()
    sentences: Mapping[str, Callable[[], str]] = field(default_factory=dict)


class Detector(Protocol):
    """Test whether the inputs of two windows have the same distribution."""

    def __call__(self, windows: Windows) -> Drift:
        """Return one alarm for all features, and the share of each; equal windows give equal answers.

        Raises
        ------
        NotApplicable
            If the detector cannot judge these windows.
        """
        ...


def load_source(name: str) -> Source:
    """Return the reader of databases whose URLs begin with that name.

    Raises PluginError if there is none or its library is absent.
    """
    source: Source = plugins.load("source", name)
    return source


def run_check(name: str, context: CheckContext) -> list[Finding] | NotApplicable:
    """Run a check; return why it has no findings to give if it cannot judge."""
    return plugins.run_plugin("check", name, lambda check: list(check(context)))


def run_detector(name: str, windows: Windows) -> Drift | NotApplicable:
    """Run a drift detector; return why it has no result if it cannot judge."""
    return plugins.run_plugin("detector", name, lambda detector: cast(Drift, detector(windows)))


def load_check(name: str) -> Check:
    """Return the check of that name; raises PluginError if there is none or its library is absent."""
    check: Check = plugins.load("check", name)
    return check


def load_detector(name: str) -> Detector:
    """Return the drift detector of that name; raises PluginError if there is none or its library is absent."""
    detector: Detector = plugins.load("detector", name)
    return detector
