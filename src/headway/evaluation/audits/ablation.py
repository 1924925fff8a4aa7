"""What each feature is worth: the error without its values, and of the model trained without it; harmful ones named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.contracts import AuditContext, Comparison
from headway.core.evidence import Measurement
from headway.evaluation.altered import beside_itself, thinned
from headway.evaluation.quality.mean import mean
from headway.evaluation.statistics.claims import ALPHA, bounds, named, side
from headway.evaluation.statistics.intervals import Floats, fact
from headway.evaluation.trainings import LOOKS, Harm, Trainer, undecided

DRAWS, MOST_ROWS = 3, 50_000
USELESS = 0.01
"""A part is useless where the error changes by less than this share of it, whole interval."""

SHOWN = "shown, at 5 % over all parts"

Parts = Mapping[str, NDArray[np.int64]]


def plugin(subject: Comparison, ground: AuditContext) -> list[Measurement]:
    """`ablation.masked.brier.drop` (`mse` of a regression) and `ablation.retrained.brier.drop`, a slice for each part.

    A part is a feature, or those of one list of `[evaluate] together`. Masked, it has the values of other rows, drawn
    again (up to thrice) while it is open. Without each part that masking does not show to be needed the model is
    trained anew, the most suspect first, while there is time. `ablation.harmful` (the model is better trained without,
    or masked where nobody can train) and `ablation.useless` (masked, the error changes by less than 1 %) are 1 for each
    such part, and over all their number. Each of the two words is wrong on any part with a chance of 5 % at most,
    however many are asked. `ablation.unsettled` are those that may do harm, or had no training, each with what would
    decide; `ablation.trainings` is how often a model was trained.
    """
    until = monotonic() + ground.budget_s
    some = thinned(subject, MOST_ROWS)
    parts = _parts(some, ground.together)
    masked, margin = _masked(some, parts, until)
    harm = _masked_alone(masked)
    retrained: Sequence[Measurement] = ()
    trained = 0
    if ground.learn and len(parts) > 1:
        suspects = sorted((part for part in parts if not _needed(masked[part])), key=lambda part: masked[part].value)
        trainer = Trainer(subject=some, learn=ground.learn, alpha=ALPHA / len(parts) / LOOKS)
        harm = trainer.race({part: parts[part] for part in suspects}, until)
        retrained, trained = list(trainer.found.values()), trainer.trained
    settled = [part for part, found in masked.items() if _useless(found, margin, len(parts))]
    useless = {part: SHOWN for part in settled if part not in harm.shown and part not in harm.open}
    n_rows = len(some.rows)
    return [
        *masked.values(),
        *retrained,
        *named("ablation.harmful", dict.fromkeys(harm.shown, SHOWN), n_rows=n_rows),
        *named("ablation.useless", useless, n_rows=n_rows),
        *named("ablation.unsettled", harm.open, n_rows=n_rows),
        fact("ablation.trainings", float(trained), n_rows=n_rows, method="models trained"),
    ]


def _masked_alone(masked: Mapping[str, Measurement]) -> Harm:
    """What masking says of harm, where nobody can train."""
    alpha = ALPHA / len(masked) / DRAWS
    suspects = [part for part, found in masked.items() if bounds(found, ALPHA)[1] < 0]
    shown = [part for part in suspects if bounds(masked[part], alpha)[1] < 0]
    return Harm(shown=shown, open={part: undecided(masked[part], alpha) for part in suspects if part not in shown})


def _parts(subject: Comparison, declared: Sequence[Sequence[str]]) -> Parts:
    """The columns of each part by its name; a feature that no list names is a part of its own."""
    names = subject.variant.signature.names
    lists = [*declared, *([name] for name in names if not any(name in each for each in declared))]
    return {" + ".join(each): np.array([names.index(name) for name in each]) for each in lists}


def _masked(subject: Comparison, parts: Parts, until: float) -> tuple[dict[str, Measurement], float]:
    """Each part's measurement, and the margin: one draw for all, further ones for what is open while there is time."""
    rng = np.random.default_rng(0)
    lost: dict[str, list[Floats]] = {part: [] for part in parts}
    found: dict[str, Measurement] = {}
    errors = beside_itself(subject, subject.scores)
    margin = USELESS * errors.blocks.mean(errors.reference)
    name = f"ablation.masked.{errors.name}.drop"
    for draw in range(DRAWS):
        others = rng.permutation(len(subject.rows))
        for part, columns in parts.items():
            if draw and (monotonic() >= until or _useless(found[part], margin, len(parts)) or _needed(found[part])):
                continue
            rows = subject.rows.copy()
            rows[:, columns] = subject.rows[np.ix_(others, columns)]
            lost[part].append(beside_itself(subject, subject.model.predict(rows)).lost)
            over_draws = np.mean(lost[part], axis=0)
            found[part] = replace(mean(name, over_draws, errors.blocks, errors.bounds), slice=part)
    return found, margin


def _useless(found: Measurement, margin: float, parts: int) -> bool:
    """Whether masking changes hardly anything, at a share of 5 % for each part and draw."""
    return found.se is not None and side(found, margin, ALPHA / parts / DRAWS) == "alike"


def _needed(found: Measurement) -> bool:
    return found.se is not None and found.low > 0
