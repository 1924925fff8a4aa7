"""Drift of texts: their words, and what the model answers to them, as features next to the other inputs.

A detector compares numbers and categories, so each text column becomes several features of a row: its number of words,
the share of words that no text of the reference has, and one of its words, drawn by a hash and hashed to a bucket. The
answer of the model and its confidence are features as well; of several labels a row, each label is one. The tests of
`input_drift`, with their groups and their budget, judge them together with the other columns.

The words of a group of the reference count as known if another group has them. Those of a later group are compared with
the reference without one of its groups, so that both are compared with equally many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from zlib import crc32

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Floats, Ints
from headway.core.texts import text_codes
from headway.core.variant import Field
from headway.data.context import Window, Windows
from headway.data.texts import words_of
from headway.evaluation.statistics.tables import tally
from headway.monitoring.scored_rows import ScoredRows

BUCKETS = 256
"""Buckets of the words that are drawn from texts."""
ANSWER, CONFIDENCE = "answer of the model", "confidence of the model"
MIN_TEXTS = 5
"""Different texts that have a word in lower case before it is shown: names and codes of a person are not."""
MAX_LABELS = 50
"""Most labels of a model of several a row whose shares are features: those that it gave to most texts."""
NAMED = 3
"""Most classes or words that a sentence names in each direction."""
_SHOWN = 3.0
"""Standard errors by which a named share changed, unless none changed as much."""

_EPSILON = 1e-9
_NONE, _SEVERAL = -(2**62), -(2**62) + 1
"""Stand for the group of a word that no text of the reference has, and that several groups have."""
_UNKNOWN = "{1:.1%} of its words are in no text that the release was judged on, and {0:.1%} were"

_LABELED = "the model gives it to {1:.1%} of the texts, and gave it to {0:.1%}"

Part = TypeVar("Part")


def with_text_features(
    windows: Windows, before: ScoredRows, between: ScoredRows, after: ScoredRows, *, classes: tuple[str, ...]
) -> Windows:
    """Return windows of these rows with features of their texts and answers after the other columns.

    `classes` are the names of the answers.
    """
    parts = (before, between, after)
    fields: list[Field] = []
    values: list[list[Floats]] = []
    sentences: dict[str, Callable[[], str]] = {}
    for column in before.texts:
        name = windows.signature.names[column]
        texts = [DistinctTexts(part.rows[:, column]) for part in parts]
        known = Vocabulary(texts[0], before.groups)
        fields += [
            Field(name=f"unknown words in {name}"),
            Field(name=f"words of {name}", datatype="BYTES", categories=tuple(map(str, range(BUCKETS)))),
        ]
        values += [
            [
                known.unknown_shares(own, part.groups, own=part is before)
                for own, part in zip(texts, parts, strict=True)
            ],
            [own.drawn_words() for own in texts],
        ]
        counts = [windows.before.rows[:, column], windows.after.rows[:, column]]
        sentences[name] = partial(_means, "a text has {1:.1f} words on average, and had {0:.1f}", counts, parts)
        sentences[fields[-2].name] = partial(_means, _UNKNOWN, values[-2], parts)
        sentences[fields[-1].name] = partial(_words_sentence, texts, parts)
    if before.answers is not None and before.answers.ndim == 2:
        for index in np.argsort(-before.answers.sum(0), kind="stable")[:MAX_LABELS].tolist():
            fields.append(Field(name=f"label '{classes[index]}'"))
            values.append([_floats(None if part.answers is None else part.answers[:, index]) for part in parts])
            sentences[fields[-1].name] = partial(_means, _LABELED, values[-1], parts)
    if before.answers is not None and before.confidence is not None:
        fields += [Field(name=ANSWER, datatype="BYTES", categories=classes), Field(name=CONFIDENCE)]
        values += [[_floats(part.answers) for part in parts], [_floats(part.confidence) for part in parts]]
        sentences[ANSWER] = partial(_answers_sentence, classes, values[-2], parts)
        sentences[CONFIDENCE] = partial(_means, "it is {1:.2f} on average, and was {0:.2f}", values[-1], parts)
    signature = windows.signature
    return replace(
        windows,
        before=_wider(windows.before, [of_parts[0] for of_parts in values]),
        between=windows.between and _wider(windows.between, [of_parts[1] for of_parts in values]),
        after=_wider(windows.after, [of_parts[2] for of_parts in values]),
        signature=changed(signature, inputs=(*signature.inputs, *fields)),
        derived=tuple(field.name for field in fields),
        sentences=sentences,
    )


class DistinctTexts:
    """The different texts of a column with their words, and `rows` int64 (n,), the number of the text of each row."""

    def __init__(self, codes: Floats) -> None:
        different, rows = np.unique(codes, return_inverse=True)
        self.texts = [text or "" for text in text_codes.texts(different)]
        self.words = [words_of(text) for text in self.texts]
        self.rows: Ints = rows.astype(np.int64)

    def drawn_words(self) -> Floats:
        """Return the bucket of one word of each text, drawn by a hash: float64 of shape (n,), NaN without words.

        A word is drawn as often as it is in the texts, so the shares of the buckets are those of all their words.
        """
        found = [
            _hashed(words[_hashed(text) % len(words)]) % BUCKETS if words else np.nan
            for text, words in zip(self.texts, self.words, strict=True)
        ]
        return np.array(found)[self.rows]

    def presence(self, words: Sequence[str], weights: Floats | None) -> Floats:
        """Return the share of rows whose text has each of the words."""
        index, found = {word: number for number, word in enumerate(words)}, np.zeros(len(words))
        rows = tally(self.rows, len(self.texts), weights)
        for own, weight in zip(self.words, rows.tolist(), strict=True):
            for word in set(own):
                if word in index:
                    found[index[word]] += weight
        shares: Floats = found / max(float(rows.sum()), 1.0)
        return shares


class Vocabulary:
    """The words of the texts of a reference, each with its group if it is the only one that has the word."""

    def __init__(self, column: DistinctTexts, groups: Ints) -> None:
        self._groups = np.unique(groups)
        self._only: dict[str, int] = {}
        for row, group in zip(column.rows.tolist(), groups.tolist(), strict=True):
            for word in column.words[row]:
                if self._only.setdefault(word, group) != group:
                    self._only[word] = _SEVERAL

    def unknown_shares(self, column: DistinctTexts, groups: Ints, *, own: bool) -> Floats:
        """Return the share of the words of each row that no other group of the reference has, float64 of shape (n,).

        `own` means that the rows are those of the reference. A text without words has none that are unknown.
        """
        without = groups if own or not len(self._groups) else self._groups[groups % len(self._groups)]
        rare = [[self._only.get(word, _NONE) for word in words] for words in column.words]
        never = np.array([groups_of.count(_NONE) for groups_of in rare])
        sizes = np.array([max(len(words), 1) for words in column.words])
        found: Floats = (never / sizes)[column.rows]
        has_rare = np.array([any(group > _SEVERAL for group in groups_of) for groups_of in rare])
        for row in np.flatnonzero(has_rare[column.rows]).tolist():
            text = column.rows[row]
            found[row] += rare[text].count(without[row]) / sizes[text]
        return found


def _hashed(text: str) -> int:
    return crc32(text.encode("utf-8", "replace"))


def _wider(window: Window, columns: Sequence[Floats]) -> Window:
    return replace(window, rows=np.column_stack([window.rows, *columns]))


def _floats(values: Floats | Ints | None) -> Floats:
    return np.zeros(0) if values is None else values.astype(np.float64)


def _means(form: str, values: Sequence[Floats], parts: Sequence[ScoredRows]) -> str:
    """Return a sentence on the means of the first and the last period, over rows that have a value."""
    means = []
    for own, part in zip(_ends(values), _ends(parts), strict=True):
        known = ~np.isnan(own)
        weights = None if part.weights is None else part.weights[known]
        means.append(float(np.average(own[known], weights=weights)) if known.any() else float("nan"))
    return f"{form.format(*means)} ({_counts(parts)})"


def _ends(parts: Sequence[Part]) -> tuple[Part, Part]:
    return parts[0], parts[-1]


def _counts(parts: Sequence[ScoredRows]) -> str:
    return f"{len(parts[0]):,} texts before, {len(parts[-1]):,} now"


def _answers_sentence(classes: Sequence[str], values: Sequence[Floats], parts: Sequence[ScoredRows]) -> str:
    """Say which classes are answered more often, and which less often."""
    shares = []
    for own, part in zip(_ends(values), _ends(parts), strict=True):
        counts = tally(own.astype(np.int64), len(classes), part.weights)
        shares.append(counts / max(counts.sum(), 1))
    return _shares_sentence(classes, shares, parts)


def _words_sentence(texts: Sequence[DistinctTexts], parts: Sequence[ScoredRows]) -> str:
    """Say which words came and which went, of those that enough texts have in lower case."""
    different = {text for own in _ends(texts) for text in own.texts}
    written = Counter(word for text in different for word in set(words_of(text, keep_case=True)))
    words = sorted(
        word for word, count in written.items() if count >= MIN_TEXTS and word.isalpha() and word == word.lower()
    )
    if not words:
        return f"no word that {MIN_TEXTS} texts have in lower case shows how ({_counts(parts)})"
    shares = [own.presence(words, part.weights) for own, part in zip(_ends(texts), _ends(parts), strict=True)]
    return _shares_sentence(words, shares, parts)


def _shares_sentence(names: Sequence[str], shares: Sequence[Floats], parts: Sequence[ScoredRows]) -> str:
    """Name the shares that rose and fell most, by their standard errors as of independent rows."""
    (before, after), (n_before, n_after) = _ends(shares), (max(len(part), 1) for part in _ends(parts))
    pooled = (before * n_before + after * n_after) / (n_before + n_after)
    z = (after - before) / np.sqrt(np.maximum(pooled * (1 - pooled), _EPSILON) * (1 / n_before + 1 / n_after))
    order = np.argsort(-np.abs(z), kind="stable").tolist()
    min_z, phrases = min(_SHOWN, float(abs(z[order[0]]))), []
    for word, sign in (("more often", 1), ("less often", -1)):
        own = [index for index in order if sign * z[index] >= max(min_z, _EPSILON)][:NAMED]
        if own:
            named = ", ".join(f"'{names[index]}' ({before[index]:.1%} before, {after[index]:.1%} now)" for index in own)
            phrases.append(f"{word} {named}")
    return "; ".join([*phrases, _counts(parts)])
