"""A fault of the inputs: its kind, what it befalls, and the rows as they read then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import AuditContext, Comparison
from headway.core.variant import Field
from headway.evaluation.statistics.intervals import Floats

Ints = NDArray[np.int64]
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`rows` gives the altered rows float64 [n, d] anew; `what` is the slice of its measurements."""

    kind: str
    what: str
    rows: Callable[[], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """What faults befall: rows float64 [n, d] with their groups int64 [n], and what each column is.

    `parts` are the columns that fail together, by name; `ordered` says that groups follow each other in time.
    """

    rows: Floats
    groups: Ints
    fields: tuple[Field, ...]
    parts: Mapping[str, Sequence[int]]
    ordered: bool

    @property
    def numbers(self) -> list[int]:
        """The columns of numbers that take at least three values: a flag has no unit and no noise."""
        places = (at for at, field in enumerate(self.fields) if field.datatype != "BYTES")
        return [at for at in places if len(np.unique(self.finite(at))) > 2]

    @property
    def texts(self) -> list[int]:
        """The columns of texts."""
        return [at for at, field in enumerate(self.fields) if field.datatype == "BYTES"]

    def finite(self, at: int) -> Floats:
        """The values of a column that are numbers."""
        values: Floats = self.rows[:, at]
        return values[np.isfinite(values)]


Faults = Callable[[Inputs], Iterator[Fault]]


def inputs_of(subject: Comparison, ground: AuditContext) -> Inputs:
    """The inputs of a subject; a part is a list of `[evaluate] together`, or one feature that no list names."""
    names = subject.variant.signature.names
    alone = ([name] for name in names if not any(name in each for each in ground.together))
    return Inputs(
        rows=subject.rows,
        groups=subject.groups,
        fields=subject.variant.signature.inputs,
        parts={" + ".join(each): [names.index(name) for name in each] for each in (*ground.together, *alone)},
        ordered=ground.months is not None,
    )


def chance(*place: int) -> np.random.Generator:
    """The draws for one fault, the same in every run and whatever other faults there are."""
    return np.random.default_rng([SEED, *place])


def with_columns(rows: Floats, columns: Sequence[int] | Ints, values: Floats | float) -> Floats:
    """A copy of rows with other values in these columns, [n, columns] or one for all."""
    altered = rows.copy()
    altered[:, columns] = values
    return altered
