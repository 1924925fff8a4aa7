"""What each feature is worth: the error without its values, and of the model trained without it; harmful ones named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.contracts import Engine, Ground, Subject
from headway.core.evidence import Measurement
from headway.evidence.altered import beside_itself, thinned
from headway.evidence.intervals import Floats, fact
from headway.evidence.quality.mean import mean
from headway.evidence.seeds import together

DRAWS, SEEDS, MOST_ROWS = 3, 3, 50_000
USELESS = 0.01
"""A part is useless where the error changes by less than this share of it, whole interval."""

Parts = Mapping[str, NDArray[np.int64]]


def plugin(subject: Subject, ground: Ground) -> list[Measurement]:
    """`ablation.masked.brier.loss` (`mse` of a regression) and `ablation.retrained.brier.loss`, a slice for each part.

    A part is a feature, or those of one list of `[evaluate] together`. Masked, it has the values of other rows, drawn
    again (up to thrice) while it is open. What masking shows to be needed or useless is settled; without each of the
    others the model is trained anew, with 3 seeds, the most suspect first, while there is time. `ablation.harmful` (the
    model is better without) and `ablation.useless` are 1 for each such part, and over all their number;
    `ablation.unsettled` is how many parts there was no time for, `ablation.trainings` how often a model was trained.
    """
    until = monotonic() + ground.budget_s
    some = thinned(subject, MOST_ROWS)
    parts = _parts(some, ground.together)
    masked, margin = _masked(some, parts, until)
    suspects = [part for part, found in masked.items() if not (_useless(found, margin) or _needed(found))]
    suspects.sort(key=lambda part: masked[part].value)
    trainer = _Trainer(subject=some, learn=ground.learn) if ground.learn and len(parts) > 1 else None
    retrained = trainer.race({part: parts[part] for part in suspects}, until) if trainer else {}
    judged = masked | retrained
    harmful = [part for part, found in judged.items() if found.se is not None and found.high < 0]
    useless = [part for part, found in masked.items() if _useless(found, margin) and part not in harmful]
    left, trained = (len(suspects) - len(retrained), trainer.trained) if trainer else (0, 0)
    return [
        *masked.values(),
        *retrained.values(),
        *_named("ablation.harmful", harmful, some),
        *_named("ablation.useless", useless, some),
        fact("ablation.unsettled", float(left), n_rows=len(some.rows), method="parts that there was no time for"),
        fact("ablation.trainings", float(trained), n_rows=len(some.rows), method="models trained"),
    ]


def _parts(subject: Subject, declared: Sequence[Sequence[str]]) -> Parts:
    """The columns of each part by its name; a feature that no list names is a part of its own."""
    names = subject.variant.signature.names
    lists = [*declared, *([name] for name in names if not any(name in each for each in declared))]
    return {" + ".join(each): np.array([names.index(name) for name in each]) for each in lists}


def _masked(subject: Subject, parts: Parts, until: float) -> tuple[dict[str, Measurement], float]:
    """Each part's measurement, and the margin: one draw for all, further ones for what is open while there is time."""
    rng = np.random.default_rng(0)
    lost: dict[str, list[Floats]] = {part: [] for part in parts}
    found: dict[str, Measurement] = {}
    errors = beside_itself(subject, subject.scores)
    margin = USELESS * errors.blocks.mean(errors.reference)
    name = f"ablation.masked.{errors.name}.loss"
    for draw in range(DRAWS):
        others = rng.permutation(len(subject.rows))
        for part, columns in parts.items():
            if draw and (monotonic() >= until or _useless(found[part], margin) or _needed(found[part])):
                continue
            rows = subject.rows.copy()
            rows[:, columns] = subject.rows[np.ix_(others, columns)]
            lost[part].append(beside_itself(subject, subject.model.predict(rows)).lost)
            over_draws = np.mean(lost[part], axis=0)
            found[part] = replace(mean(name, over_draws, errors.blocks, errors.bounds), slice=part)
    return found, margin


def _useless(found: Measurement, margin: float) -> bool:
    return found.se is not None and -margin <= found.low and found.high <= margin


def _needed(found: Measurement) -> bool:
    return found.se is not None and found.low > 0


@dataclass(slots=True, kw_only=True)
class _Trainer:
    """Trains without a part, and whole beside it with the same seed (once for all parts)."""

    subject: Subject
    learn: Callable[[Sequence[str], int], Engine]
    trained: int = 0
    whole: dict[int, Floats] = field(default_factory=dict)

    def race(self, parts: Parts, until: float) -> dict[str, Measurement]:
        """What is lost without each part, in this order, while there is time."""
        found: dict[str, Measurement] = {}
        for part, columns in parts.items():
            if monotonic() >= until:
                break
            found[part] = self.without(part, columns)
        return found

    def without(self, part: str, columns: NDArray[np.int64]) -> Measurement:
        """What is lost without it, over seeds; a part that the first seed shows to be needed needs no other."""
        left = np.setdiff1d(np.arange(self.subject.rows.shape[1]), columns)
        found: list[Measurement] = []
        for seed in range(SEEDS):
            if seed not in self.whole:
                self.whole[seed] = self._answers(np.arange(self.subject.rows.shape[1]), seed)
            errors = beside_itself(self.subject, self._answers(left, seed), self.whole[seed])
            name = f"ablation.retrained.{errors.name}.loss"
            found.append(replace(mean(name, errors.lost, errors.blocks, errors.bounds), slice=part))
            if _needed(found[-1]):
                return _of_one(found[-1], errors.bounds) if seed == 0 else together(found)
        return together(found)

    def _answers(self, columns: NDArray[np.int64], seed: int) -> Floats:
        names = self.subject.variant.signature.names
        self.trained += 1
        return self.learn([names[at] for at in columns], seed).predict(self.subject.rows[:, columns])


def _of_one(found: Measurement, bounds: tuple[float, float]) -> Measurement:
    """One seed says nothing of the variance between seeds: it claims no interval."""
    return replace(found, low=bounds[0], high=bounds[1], se=None, dof=None, method="one seed, no interval: needed")


def _named(name: str, parts: Sequence[str], subject: Subject) -> list[Measurement]:
    """1 for each of the parts, and their number over all."""
    over_all = fact(name, float(len(parts)), n_rows=len(subject.rows), method="parts that are so by their interval")
    return [over_all, *(replace(over_all, value=1.0, low=1.0, high=1.0, slice=part) for part in parts)]
