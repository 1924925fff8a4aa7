"""What an attack on a variant shows, beside the same attack on the model as it came: how often, by what, how far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.contracts import Comparison, MetricResults
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.attacks.columns import Bools, Column
from headway.evaluation.attacks.search import Attacked, Ints
from headway.evaluation.load.ranks import needed, percentile
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Floats, fact
from headway.evaluation.statistics.parts import Asked, of_part
from headway.evaluation.statistics.tables import Blocks, blocks_of


def told(subject: Comparison, own: Attacked, before: Attacked, columns: Sequence[Column]) -> MetricResults:
    """`attack.success` and `.drop`, by decision too, `attack.column.success` and `.drop`, and what a turn takes.

    Rows of the subject are those that were attacked; `before` is the attack on the model as it came.
    """
    blocks = blocks_of(subject)
    turned = np.array([~own.held, ~before.held], dtype=np.float64)
    both = list(_beside("attack.success", turned, blocks))
    found: list[Measurement | NotApplicable] = [of_part(each, each.among) for each in both]
    for name, inside in _by_decision(subject, own):
        found += [named(of_part(each, inside), slice=name) for each in both]
    for place, column in enumerate(columns):
        alone = np.array([each.alone[:, place] for each in (own, before)], dtype=np.float64)
        asked = _beside("attack.column.success", alone, blocks)
        found += [named(of_part(each, each.among), slice=column.name) for each in asked]
    found += [_median("attack.columns", own.changed, own, subject), _median("attack.reach", own.moved, own, subject)]
    how = "decisions asked of the variant for a row, on average"
    return [*found, fact("attack.queries", own.asked, n_rows=len(own.rows), method=how)]


def _beside(name: str, turned: Floats, blocks: Blocks) -> Iterator[Asked]:
    """A share of rows of the variant, and how much more that is than of the model as it came; turned [2, n]."""
    every = np.ones(blocks.n_rows, dtype=np.bool_)
    share = Asked(name=name, values=turned[0], among=every, bounds=SHARE, blocks=blocks)
    yield share
    yield replace(share, name=f"{name}.drop", values=turned[0] - turned[1], bounds=CHANGE)


def _by_decision(subject: Comparison, own: Attacked) -> Iterator[tuple[str, Bools]]:
    """The rows of each decision that the variant made, by its name."""
    classes = subject.variant.signature.classes
    names = ("no", "yes") if subject.variant.task == "binary" else classes
    for decision in np.unique(own.decisions).tolist():
        name = names[decision] if decision < len(names) else str(decision)
        yield f"decided {name}", own.decisions == decision


def _median(name: str, values: Floats | Ints, own: Attacked, subject: Comparison) -> Measurement | NotApplicable:
    """The median over rows that were turned, or why there is none."""
    some = ~own.held
    few = NotApplicable(f"{name} has no median: {int(some.sum()):,} rows were turned, {needed(0.5)} are needed")
    if some.sum() < needed(0.5):
        return few
    try:
        words = ("rows that were turned", "groups")
        return percentile(name, values[some].astype(np.float64), subject.groups[some], 0.5, of=words)
    except NotApplicable:
        return few
