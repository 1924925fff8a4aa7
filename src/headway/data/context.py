"""What a source, a check and a drift detector are, and the contexts that they work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headway.core import plugins
from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.drift import Drift
from headway.core.evidence import Finding
from headway.core.labeling import Labeling
from headway.core.variant import Signature

if TYPE_CHECKING:
    import polars

    from headway.core.contracts import Floats, Ints


class Source(Protocol):
    """From the URL of a database and a query, a table; the plug-in's name is the scheme of its URLs (`sqlite:`)."""

    def __call__(self, url: str, query: str, *, folder: Path) -> polars.DataFrame:
        """The rows that the query gives; a relative path in the URL starts in `folder`, and nothing is written.

        Raises DataError, with the mend, where the database cannot be opened or refuses the query; who asked hides the
        password of the URL in it.
        """
        ...


def _no_table() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a check looks at: a dataset, and what is known about it beside its rows.

    `periods` are its train, validation, test and live, none where it is not cut. `requests` gives the rows that servers
    were asked, a column a feature, and when by ASKED_AT; None where nobody asked them yet. `config` is that of the
    project. `detector` tells whether two windows of rows come from one world, where anybody gave one.
    `labelling` says how its labels came about.
    """

    dataset: Dataset
    periods: Mapping[str, Dataset] = field(default_factory=dict)
    requests: Callable[[], polars.DataFrame | None] = _no_table
    config: Config = field(default_factory=Config)
    detector: Detector | None = None
    labeling: Labeling = field(default_factory=Labeling)


class Check(Protocol):
    """From a survey of data, what is wrong with them; raises NotApplicable where it cannot judge."""

    def __call__(self, survey: CheckContext) -> Sequence[Finding]:
        """Findings of its own code, none if all is well; it changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows of one period: float64 [n, d], missing as NaN, texts as category ranks; `groups` int64 [n].

    Rows of one group share fate; groups are numbered in order of time, as days are since some day.
    """

    rows: Floats
    groups: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Two periods side by side, their columns as the signature says.

    `run` counts neighbouring groups that a detector moves as one, since they lean on each other, and over which a
    pattern repeats: 7 for days. It is 1 where chance decided which group belongs to which window. `alpha` is the chance
    of an alarm that a detector may take where nothing changed.
    """

    before: Window
    after: Window
    signature: Signature
    run: int = 7
    alpha: float = 0.05


class Detector(Protocol):
    """From two windows, whether their inputs come from one world; raises NotApplicable where it cannot judge."""

    def __call__(self, windows: Windows) -> Drift:
        """One alarm for all features, and each feature's part in it; equal windows give equal answers."""
        ...


def load_source(name: str) -> Source:
    """Return the reader of databases whose URLs begin with that name; raises PluginError if there is none or its library is absent."""
    source: Source = plugins.load("source", name)
    return source


def load_check(name: str) -> Check:
    """Return the check of that name; raises PluginError if there is none or its library is absent."""
    check: Check = plugins.load("check", name)
    return check


def load_detector(name: str) -> Detector:
    """Return the drift detector of that name; raises PluginError if there is none or its library is absent."""
    detector: Detector = plugins.load("detector", name)
    return detector
