"""What is known of a measure besides its value: a plug-in of the kind `measure`, next to what measures it."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping
from types import MappingProxyType

from headway.core import plugins
from headway.core.record import Record


class Measure(Record, frozen=True, kw_only=True):
    """Name and meaning of a measure, for readers who are not statisticians.

    Parameters
    ----------
    name : str
        Name in evidence and policies, such as `roc_auc`.
    title : str
        What it is called on its own, such as `Ranking (AUC)`; empty: its name, or what its prefix makes of it.
    explanation : str
        One sentence on what it means.
    symbol : str
        Short name within tables and sentences, such as `AUC`; empty: its title.
    violation : str
        What is wrong with a variant that breaks a rule on it, without full stop.
    drop_violation : str
        The same for a rule on its drop against the baseline.
    lower_is_better : bool
        True of errors and costs.
    is_share : bool
        True if it is a share of rows, which is shown in percent.
    in_policies : bool
        False of what only monitored periods have: no rule can name it.
    is_quality : bool
        True if it says how right the answers are: report, comparisons, explorer and record list it as quality.
    main_for : mapping of str to int
        Tasks of which it is a main measure, each with its rank, 1 first: those are shown where there is room for few.
    """

    name: str
    title: str = ""
    explanation: str = ""
    symbol: str = ""
    violation: str = ""
    drop_violation: str = ""
    lower_is_better: bool = False
    is_share: bool = False
    in_policies: bool = True
    is_quality: bool = False
    main_for: Mapping[str, int] = {}


class MeasurePrefix(Record, frozen=True, kw_only=True):
    """What the beginning of a name says of the rest of it: `worst_slice.brier` is `brier` on the worst slice.

    Parameters
    ----------
    prefix : str
        Beginning of the names, with its dot.
    title : str
        Beginning of their titles.
    explanation : str
        Sentence before that of the rest.
    violation : str
        What is wrong with a variant that breaks a rule on one of them, without full stop.
    """

    prefix: str
    title: str
    explanation: str = ""
    violation: str = ""


def measures() -> Mapping[str, Measure]:
    """Return every known measure by name; those of another package that cannot be imported are left out."""
    return read_catalogue()[0]


def measure_prefixes() -> Mapping[str, MeasurePrefix]:
    """Return every known beginning of a name."""
    return read_catalogue()[1]


def lower_is_better(name: str) -> bool:
    """Return whether a smaller value of a measure is better; not of one that is unknown."""
    return name in measures() and measures()[name].lower_is_better


@functools.cache
def quality_measures() -> tuple[str, ...]:
    """Return the measures of quality, the main ones of every task first."""
    of_quality = [measure for measure in measures().values() if measure.is_quality]
    return tuple(measure.name for measure in sorted(of_quality, key=_rank))


def _rank(measure: Measure) -> float:
    return min(measure.main_for.values(), default=math.inf)


@functools.cache
def main_measures(task: str) -> tuple[str, ...]:
    """Return the main measures of a task in their order; empty for an unknown one.

    >>> main_measures("binary")
    ('roc_auc', 'brier', 'ece')
    """
    ranks = {measure.name: measure.main_for[task] for measure in measures().values() if task in measure.main_for}
    return tuple(sorted(ranks, key=lambda name: ranks[name]))


def main_measures_among(names: Collection[str], *, first: int | None = None) -> list[str]:
    """Return the main measures that were measured, or those of the `first` ones, of the task that they imply.

    It is the task of which the highest main measure was measured: a model of two classes has an accuracy, too, but one
    of several classes has no area under the curve.

    >>> main_measures_among({"brier", "roc_auc", "accuracy"}), main_measures_among({"brier", "accuracy"})
    (['roc_auc', 'brier'], ['accuracy', 'brier'])
    """
    ranks = [
        (rank, task) for name, measure in measures().items() if name in names for task, rank in measure.main_for.items()
    ]
    task = min(ranks, key=lambda ranked: ranked[0], default=(0, ""))[1]
    return [name for name in main_measures(task)[:first] if name in names]


@functools.cache
def share_measures() -> tuple[str, ...]:
    """Return the measures that are a share of rows."""
    return tuple(name for name, measure in measures().items() if measure.is_share)


@functools.cache
def read_catalogue() -> tuple[Mapping[str, Measure], Mapping[str, MeasurePrefix]]:
    """Return the measures and the beginnings of names that all installed packages describe; read once a process."""
    loaded = (plugins.run_plugin("measure", name, tuple) for name in plugins.names("measure"))
    entries = [entry for group in loaded if isinstance(group, tuple) for entry in group]
    return (
        MappingProxyType({entry.name: entry for entry in entries if isinstance(entry, Measure)}),
        MappingProxyType({entry.prefix: entry for entry in entries if isinstance(entry, MeasurePrefix)}),
    )
