"""D034: Languages of a column of texts, and whether they differ between periods or classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Ints
from headway.core.errors import NotApplicable, PluginError
from headway.core.evidence import Finding
from headway.core.student import student_quantile
from headway.data.context import CheckContext
from headway.data.languages import detect_languages

CODES = ("D034",)
MAX_TEXTS = 20_000
"""Texts of a period that are read, evenly spread."""
MIN_TEXTS, MIN_SHARE = 20, 0.002
"""Texts and share of a language that is named; fewer may be errors of the detection."""
MIN_GROUPS = 20
PERIOD_MARGIN, CLASS_MARGIN = 0.02, 0.1
"""Differences of shares that matter. A model must know each language; some topics have one more than another."""
NAMED, LEVEL = 5, 0.95


class _Language(NamedTuple):
    """Which texts are in a language, and which are or may be, both bool (n,)."""

    certain: Bools
    possible: Bools


class _Pair(NamedTuple):
    """Two kinds of rows to compare, each with its name and its rows, bool (n,)."""

    name: str
    rows: Bools
    than: str
    others: Bools


class _Difference(NamedTuple):
    """Least size of a difference of shares, half of the width of its interval, and a sentence."""

    size: float
    half: float
    sentence: str


def plugin(context: CheckContext) -> list[Finding]:
    """Return for each column of texts a note of its languages with intervals, and warnings where they differ.

    A language counts if the detection is sure of it. Of very short texts it often is not; they are counted apart, and
    in comparisons they have the language that makes the smaller difference, among those they may have.

    Shares of texts are compared between each period and the first one, and between each class and the others. A
    warning needs a difference of more than 2 or 10 percentage points with its whole interval; the comparisons of a
    column share 5 %. With fewer than 20 groups a note reports that such a difference was not judged.

    Raises
    ------
    NotApplicable
        If no column of texts is declared, or the library is not installed.
    """
    texts = context.dataset.texts
    if not texts:
        raise NotApplicable("no column of texts is declared", hint='[data] text = ["COLUMN"]')
    try:
        return [finding for name in texts for finding in _of_column(context, name)]
    except PluginError as error:
        raise NotApplicable(error.what, hint=error.hint) from error


def _of_column(context: CheckContext, name: str) -> Iterator[Finding]:
    rows = _read(context, name)
    detected = detect_languages(rows["text"])
    groups = rows["group"].rank("dense").cast(pl.Int64).to_numpy() - 1
    counts = detected.codes.drop_nulls().value_counts(name="n").sort("n", "text", descending=[True, False])
    frequent = counts.filter(pl.col("n") >= MIN_TEXTS)["text"]
    languages = {
        code: _Language((detected.codes == code).fill_null(False).to_numpy(), detected.may_be(code))
        for code in frequent
    }
    yield _note(name, languages, int(detected.codes.null_count()), groups)
    for pairs, margin, hint in (
        (_period_pairs(rows), PERIOD_MARGIN, "collect such texts for training, or refuse them"),
        (_class_pairs(rows), CLASS_MARGIN, "a model may learn the language in place of the class"),
    ):
        n_compared = len(pairs) * len(languages)
        found = [_compare(code, texts, pair, groups, n_compared) for pair in pairs for code, texts in languages.items()]
        slices = f'[data] slices = ["{name}.language"] shows the errors in each'
        yield from _findings(name, found, margin, hint=f"{hint}; {slices}")


def _read(context: CheckContext, name: str) -> pl.DataFrame:
    """Return the text, period, class and group of rows with a text; without groups each row is its own."""
    roles, parts = context.dataset.roles, []
    for period, dataset in (context.periods or {"table": context.dataset}).items():
        table = dataset.table.gather_every(max(1, -(-len(dataset.table) // MAX_TEXTS)))
        has_classes = roles.task in ("binary", "multiclass")
        of_class = table[roles.target].cast(pl.Float64, strict=False) if has_classes else pl.lit(None, pl.Float64)
        own_group = pl.format("{}/{}", pl.lit(period), pl.row_index())
        parts.append(
            table.select(
                table[name].cast(pl.String).alias("text"),
                pl.lit(period).alias("period"),
                of_class.alias("class"),
                (table[roles.groups] if roles.groups else own_group).alias("group"),
            )
        )
    named = pl.col("class").map_elements(lambda code: _class_name(roles.classes, code), pl.String)
    return pl.concat(parts).drop_nulls("text").with_columns(named)


def _class_name(classes: Sequence[str], code: float) -> str:
    return classes[int(code)] if 0 <= code < len(classes) else f"{code:g}"


def _note(name: str, languages: Mapping[str, _Language], n_uncertain: int, groups: Ints) -> Finding:
    """Return the note on the languages of a column, each with its interval, and on the texts without one."""
    n_texts, parts = len(groups), list[str]()
    n_others = n_texts - n_uncertain
    for code, texts in languages.items():
        if len(parts) < NAMED and texts.certain.mean() >= MIN_SHARE:
            value, half = _difference([(1, texts.certain, np.ones(n_texts, dtype=np.bool_))], groups, n_compared=1)
            low, high = max(0.0, value - half), min(1.0, value + half)
            interval = f"95 % {low:.1%} to {high:.1%}" if math.isfinite(half) else "no interval: too few groups"
            parts.append(f"{code} {value:.1%} ({interval})")
            n_others -= int(texts.certain.sum())
    if n_others:
        parts.append(f"others {n_others / n_texts:.1%}")
    share = n_uncertain / max(1, n_texts)
    return Finding(
        code="D034",
        severity="note",
        message=f"languages of {n_texts:,} texts of '{name}': {', '.join([*parts, f'uncertain {share:.1%}'])}",
        where=f"column {name}",
        measured=share,
        hint="the language of a text of one to three words is often uncertain" if n_uncertain else "",
    )


def _period_pairs(rows: pl.DataFrame) -> list[_Pair]:
    """Return each period after the first one, to compare with that."""
    first, *later = rows["period"].unique(maintain_order=True).to_list() or [""]
    masks = {period: (rows["period"] == period).to_numpy() for period in (first, *later)}
    return [_Pair(period, masks[period], first, masks[first]) for period in later]


def _class_pairs(rows: pl.DataFrame) -> list[_Pair]:
    """Return each class with enough texts, to compare with the other classes."""
    labeled = rows["class"].is_not_null().to_numpy()
    counts = rows["class"].drop_nulls().value_counts(name="n").filter(pl.col("n") >= MIN_TEXTS).sort("class")
    masks = {name: (rows["class"] == name).fill_null(False).to_numpy() for name in counts["class"]}
    return [
        _Pair(f"class {name}", inside, "the other classes", labeled & ~inside)
        for name, inside in masks.items()
        if (labeled & ~inside).any()
    ]


def _compare(code: str, texts: _Language, pair: _Pair, groups: Ints, n_compared: int) -> _Difference:
    """Return the least difference of the shares of a language between two kinds of rows."""
    orders = [
        (_difference([(1, texts.certain, more), (-1, texts.possible, less)], groups, n_compared), names, more, less)
        for names, more, less in (
            ((pair.name, pair.than), pair.rows, pair.others),
            ((pair.than, pair.name), pair.others, pair.rows),
        )
    ]
    (size, half), names, more, less = max(orders, key=lambda order: order[0][0])
    sentence = (
        f"{code} is the language of at least {texts.certain[more].mean():.1%} of {names[0]} and at most "
        f"{texts.possible[less].mean():.1%} of {names[1]}"
    )
    return _Difference(size, half, sentence)


def _difference(parts: Sequence[tuple[int, Bools, Bools]], groups: Ints, n_compared: int) -> tuple[float, float]:
    """Return a signed sum of shares, and half of the width of its interval.

    The ratios are linearised by group, so dependent rows count as one. The half is infinite below MIN_GROUPS groups.

    Parameters
    ----------
    parts : sequence of (int, ndarray of bool, ndarray of bool)
        Sign of each share, the rows that it counts, and the rows among which, all of shape (n,).
    groups : ndarray of int64, shape (n,)
        Group codes from 0.
    n_compared : int
        Number of comparisons that share the level.
    """
    value, influence, used = 0.0, np.zeros(int(groups.max(initial=-1)) + 1), np.zeros(len(groups), dtype=np.bool_)
    for sign, inside, rows in parts:
        if rows.any():
            share = float(inside[rows].mean())
            value += sign * share
            influence += sign * np.bincount(groups[rows], inside[rows] - share, len(influence)) / rows.sum()
            used |= rows
    n_groups = len(np.unique(groups[used]))
    if n_groups < MIN_GROUPS:
        return value, math.inf
    se = math.sqrt(n_groups / (n_groups - 1) * float(np.square(influence).sum()))
    return value, student_quantile(1 - (1 - LEVEL) / (2 * n_compared), n_groups - 1) * se


def _findings(name: str, differences: Sequence[_Difference], margin: float, *, hint: str) -> Iterator[Finding]:
    """Yield a warning on the differences whose interval lies beyond the margin, and a note on those not judged."""
    large = sorted((one for one in differences if one.size > margin), reverse=True)
    shown = [one for one in large if one.size - one.half > margin]
    if shown:
        named = "; ".join(one.sentence for one in shown[:NAMED])
        more = f"; and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        yield Finding(
            code="D034",
            severity="warn",
            message=f"the languages of '{name}' differ: {named}{more} (first difference: 95 % from "
            f"{shown[0].size - shown[0].half:.1%} on)",
            where=f"column {name}",
            measured=shown[0].size,
            limit=margin,
            hint=hint,
        )
    unjudged = [one for one in large if math.isinf(one.half)]
    if unjudged:
        yield Finding(
            code="D034",
            severity="note",
            message=f"the languages of '{name}' may differ, which fewer than {MIN_GROUPS} groups cannot show: "
            + unjudged[0].sentence,
            where=f"column {name}",
            measured=unjudged[0].size,
            limit=margin,
            hint='more groups, such as [data] groups = "TIME.day"',
        )
