"""Whether the labels of a period show harm: it ranks worse, its probabilities are off, or its decisions cost more."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.config import FILE, PolicySection
from headway.core.contracts import Subject
from headway.core.errors import ConfigError
from headway.core.evidence import Evidence, Measurement
from headway.core.verdict import Ruling
from headway.core.watch import Reply, Watch
from headway.evaluation.statistics.intervals import CHANGE, FEWEST_GROUPS, Sample, jackknife
from headway.evaluation.statistics.tables import Floats, Ints, bin_table, binary_answers
from headway.registry.judge import judge
from headway.registry.weigh import Limit, weigh

RANKS, PROBABILITIES, COST = "roc_auc.change", "ece.split", "cost"
WAYS = 3
BINS = 15


def harm(watch: Watch, *, level: float, ece_at_most: float) -> Reply:
    """The harms that are shown; the three ways to look for one, and the rules, share the chance `level`."""
    of = {RANKS: watch.find(RANKS), PROBABILITIES: watch.find(PROBABILITIES), COST: watch.cost}
    limits = {RANKS: (0.0, -1), PROBABILITIES: (ece_at_most, 1), COST: (0.0, 1)}
    alpha = level / (WAYS + len(watch.rulings))
    shown = [name for name, found in of.items() if found is not None and beyond(found, *limits[name], alpha=alpha)]
    broken = [str(each.rule) for each in watch.rulings if each.answer == "fail"]
    return Reply(question="harm", level=level, shown=(*shown, *broken))


def expect_of_live(policy: PolicySection) -> None:
    """Raise ConfigError for a rule that compares with another model on the same rows: a watch sees live alone."""
    compares = next((rule.measure for rule in policy.watch if rule.relative), None)
    if compares:
        raise ConfigError(
            f"{compares!r} compares with another model, and a watch sees live alone",
            where=f"{FILE} [[policy.watch]]",
            hint="an absolute measure, or what changed since it was judged: roc_auc.change, brier.change, ece.change",
        )


def ruled(watch: Watch, now: Evidence, policy: PolicySection, *, level: float) -> tuple[Ruling, ...]:
    """What the judge says of each rule of `[[policy.watch]]`, by all that was measured of the period."""
    every = (*now.measurements, *watch.change, *((watch.cost,) if watch.cost else ()))
    alpha = level * len(policy.watch) / (WAYS + len(policy.watch))
    asked = replace(policy, release=policy.watch)
    return judge(replace(now, measurements=every), asked, alpha=alpha).rulings


def beyond(found: Measurement, limit: float, sign: int, *, alpha: float) -> bool:
    """Whether it is shown to be above a limit, or (`sign` -1) below it, at a chance `alpha` of saying so falsely."""
    weighed = weigh(found, Limit(value=limit, sign=sign, alpha=alpha), fewest_groups=FEWEST_GROUPS)
    return weighed.answer == "fail"


def split_ece(subject: Subject, *, run: int) -> Measurement:
    """`ece.split`: the calibration error, with the side on which a bin errs read from the other half of the groups.

    Noise makes the plain error too large, most of all in a short period, where it alone can pass any limit. This one is
    on average at most the true error, and the same as the plain one where both halves agree on which side each bin
    errs. Halves are runs of `run` neighbours in turn, so that days that lean on each other do not vouch for each other.
    Raises NotApplicable where the task is not binary.
    """
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    halves = np.arange(answers.n_blocks) // run % 2
    surplus = table.positives - table.scores
    sides = np.stack([surplus[halves == half].sum(0) for half in (0, 1)])
    total, rows = table.rows.sum(), table.rows.sum(1)
    value = _agreed(sides) / float(total)
    without = np.array([_agreed(sides - _of(halves, at, surplus[at])) for at in range(answers.n_blocks)])
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    return jackknife(PROBABILITIES, value, without / np.maximum(total - rows, 1), sample)


def _of(halves: Ints, at: int, surplus: Floats) -> Floats:
    """What a group adds to its half, [2, bins]."""
    return np.stack([surplus if halves[at] == half else np.zeros_like(surplus) for half in (0, 1)])


def _agreed(sides: Floats) -> float:
    """Sums of surplus by half and bin [2, bins], each with the sign of the other half's."""
    return float((np.sign(sides[::-1]) * sides).sum())
