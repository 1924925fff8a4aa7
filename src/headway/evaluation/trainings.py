"""A model trained anew without some of its columns, over seeds: who may be better off without is asked again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.contracts import Comparison, Engine
from headway.core.evidence import Measurement
from headway.evaluation.altered import beside_itself
from headway.evaluation.quality.mean import mean
from headway.evaluation.statistics.claims import ALPHA, HOPELESS, bounds, groups_that_show, wanted
from headway.evaluation.statistics.intervals import ANY, Floats
from headway.evaluation.statistics.seeds import together

Columns = NDArray[np.int64]

LOOKS = 2
SEEDS = (3, 6)
"""How many seeds stand behind each look."""
_FEW_DOF = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """The parts that do harm, and, of those that may, what would decide."""

    shown: list[str]
    open: dict[str, str]


@dataclass(slots=True, kw_only=True)
class Trainer:
    """Trains without a part, and whole beside it with the same seed (once for all parts).

    Harm is shown at `alpha`, by one look of two; `found` is what is lost without each part.
    """

    subject: Comparison
    learn: Callable[[Sequence[str], int], Engine]
    alpha: float
    trained: int = 0
    found: dict[str, Measurement] = field(default_factory=dict)
    _whole: dict[int, Floats] = field(default_factory=dict)
    _seeds: dict[str, list[Measurement]] = field(default_factory=dict)

    def race(self, parts: Mapping[str, Columns], until: float) -> Harm:
        """One seed for all, in this order; three for those that it shows to be suspect; six where seeds decide."""
        late = {part: "no time to train without it" for part in parts if not self._reaches(part, parts[part], 1, until)}
        self.found = {part: self._of_one(part) for part in parts if part not in late}
        suspects = [part for part in self.found if bounds(self._seeds[part][0], ALPHA)[1] < 0]
        suspects.sort(key=lambda part: self._seeds[part][0].high)
        harm = Harm(shown=[], open=late | dict.fromkeys(suspects, "worse with it by one seed, no time for others"))
        for count in SEEDS:
            for part in [each for each in suspects if each in harm.open and self._can_gain(each)]:
                if self._reaches(part, parts[part], count, until):
                    self._look(part, harm)
        return harm

    def _can_gain(self, part: str) -> bool:
        """Whether more seeds may decide: where there is one, or their variance is most of what is not known."""
        return (self.found[part].dof or 0.0) < _FEW_DOF

    def _reaches(self, part: str, columns: Columns, count: int, until: float) -> bool:
        """Whether so many seeds of a part could be trained in time."""
        seeds = self._seeds.setdefault(part, [])
        while len(seeds) < count and monotonic() < until:
            seeds.append(self._without(part, columns, len(seeds)))
        return len(seeds) == count

    def _look(self, part: str, harm: Harm) -> None:
        """Whether harm is shown, and if not, what would decide."""
        found = self.found[part] = together(self._seeds[part], ships_one=False)
        if bounds(found, self.alpha)[1] < 0:
            harm.shown.append(part)
            del harm.open[part]
            return
        of_seeds = float(np.var([each.value for each in self._seeds[part]], ddof=1))
        of_groups = float(np.mean([(each.se or 0.0) ** 2 for each in self._seeds[part]]))
        harm.open[part] = undecided(replace(found, se=math.sqrt(of_groups)), self.alpha, of_seeds=of_seeds)

    def _without(self, part: str, columns: Columns, seed: int) -> Measurement:
        """What is lost without the part, by one seed."""
        every = np.arange(self.subject.rows.shape[1])
        if seed not in self._whole:
            self._whole[seed] = self._answers(every, seed)
        errors = beside_itself(self.subject, self._answers(np.setdiff1d(every, columns), seed), self._whole[seed])
        name = f"ablation.retrained.{errors.name}.drop"
        return replace(mean(name, errors.lost, errors.blocks, errors.bounds), slice=part)

    def _answers(self, columns: Columns, seed: int) -> Floats:
        names = self.subject.variant.signature.names
        self.trained += 1
        return self.learn([names[at] for at in columns], seed).predict(self.subject.rows[:, columns])

    def _of_one(self, part: str) -> Measurement:
        """One seed says nothing of the variance between seeds: it claims no interval."""
        found = self._seeds[part][0]
        low, high = found.bounds or ANY
        return replace(found, low=low, high=high, se=None, dof=None, method="one seed, no interval")


def undecided(found: Measurement, alpha: float, *, of_seeds: float = 0.0) -> str:
    """What would decide whether a part does harm; `of_seeds` is the variance between trainings, and not in its se."""
    room = found.value**2 - (wanted(alpha) * (found.se or math.inf)) ** 2
    if room > 0:
        seeds = max(math.ceil(wanted(alpha) ** 2 * of_seeds / room), SEEDS[-1] + 1)
        return f"not shown at 5 % over all parts; about {seeds:,} seeds would decide"
    needed = groups_that_show(found, found.value, alpha)
    if math.isinf(needed):
        return f"not shown at 5 % over all parts, nor would {HOPELESS} times the {found.n_groups:,} groups decide"
    return f"not shown at 5 % over all parts; about {needed:,.0f} groups would decide, here are {found.n_groups:,}"
