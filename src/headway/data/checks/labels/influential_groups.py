"""D042: a small group of rows that pulls a model away from what all others say."""

from __future__ import annotations

import numpy as np
import polars as pl

from headway.core.contracts import CheckContext
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.labels.out_of_fold import SCREENING_ROWS, Ints, prepare_learner
from headway.data.poisoning.influence import MIN_GROUPS, MIN_SCORE, influential_groups
from headway.data.poisoning.label_flips import code_columns


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each group, slice or people's value of at most 2 % of the rows whose influence stands out.

    Influence is how far a model would move without it, for its size. It stands out at five robust deviations, far from
    the next (stormy days pull too, but there are more of them), and further than labels drawn anew show in 98 of 100
    tables with the same features, groups and effects of groups.
    """
    dataset = survey.dataset
    roles = dataset.roles
    oof, _ = prepare_learner(dataset, rows=SCREENING_ROWS)
    table = dataset.table[oof.rows]
    kinds: dict[str, tuple[Ints, list[str]]] = {}
    for name in {roles.groups, *roles.slices, *roles.sensitive_features} - {""}:
        values, codes = np.unique(table[name].cast(pl.String).fill_null("missing").to_numpy(), return_inverse=True)
        if len(values) >= MIN_GROUPS:
            kinds[name] = (codes.astype(np.int64), values.tolist())
    if not kinds:
        raise NotApplicable(f"no groups, slices or people of {MIN_GROUPS} values", hint='[data] slices = ["SOURCE"]')
    found = influential_groups(oof, code_columns(table, dataset.features), kinds)
    return [
        Finding(
            code="D042",
            severity="warn",
            message=f"without the {each.rows:,} rows of {each.kind} {each.name} ({each.rows / len(table):.1%}) a model"
            f" says {each.moved:.2%} else of every row: {each.score:.1f} deviations beyond its like, where clean labels"
            f" have one so far in {each.chance:.1%} of tables at most",
            where=f"{each.kind} = {each.name}",
            measured=each.score,
            limit=MIN_SCORE,
            hint="look who labelled these rows, and judge a model without them: headway optimize",
        )
        for each in found
    ]
