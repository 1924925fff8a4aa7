"""Naive Bayes over the hashed words of texts: a simple model that is fitted in a second, with numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from zlib import crc32

import numpy as np

from headway.core.arrays import Floats, Ints, sigmoid, softmax
from headway.core.texts import text_codes
from headway.data.texts import words_of

BUCKETS, MAX_CELLS = 1 << 15, 1 << 23
"""Words are hashed to as many buckets, fewer if these times the number of classes are more than so many cells."""
SMOOTHING, MIN_COUNT = 0.1, 5.0
BINS, CHUNK = 32, 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordModel:
    """Naive Bayes over hashed words of texts, and over bins of the other columns, which count as words.

    `weights` of shape (buckets, k) are the logarithms of likelihoods, and `prior` (k,) those of the class shares. For
    labels that are numbers k is 1: a weight is then how far the labels of the rows with a word lie from the mean. With
    several labels a row, weights and prior are the log odds of each label (`is_multilabel`).
    """

    texts: tuple[int, ...]
    edges: dict[int, Floats]
    weights: Floats
    prior: Floats
    is_number: bool = False
    is_multilabel: bool = False

    @property
    def mean(self) -> Floats:
        """The mean label, or the shares of classes or labels, (1, k)."""
        return self.prior[None] if self.is_number else self._probabilities(self.prior[None])

    def _probabilities(self, scores: Floats) -> Floats:
        return sigmoid(scores) if self.is_multilabel else softmax(scores)

    def predict(self, rows: Floats) -> Floats:
        """Compute the answers (n, k) to rows (n, d): the expected label, or the probability of each class or label."""
        found = np.empty((len(rows), len(self.prior)))
        for start in range(0, len(rows), CHUNK):
            of, words = _hashed(rows[start : start + CHUNK], self.texts, self.edges, len(self.weights))
            found[start : start + CHUNK] = self._answers(of, words, min(CHUNK, len(rows) - start))
        return found

    def _answers(self, of: Ints, words: Ints, n_rows: int) -> Floats:
        sums, counts = np.zeros((n_rows, len(self.prior))), np.bincount(of, minlength=n_rows)
        some = counts > 0
        if some.any():
            sums[some] = np.add.reduceat(self.weights[words], (np.cumsum(counts) - counts)[some])
        if self.is_number:
            found: Floats = self.prior + sums / np.maximum(counts, 1)[:, None]
            return found
        return self._probabilities(self.prior + sums)


def fit_words(
    rows: Floats, labels: Floats, texts: tuple[int, ...], *, n_classes: int, weights: Floats | None = None
) -> WordModel:
    """Fit naive Bayes, or the means of numbers by word.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        At least one row; texts as their numbers in `core.texts.text_codes`.
    labels : ndarray of shape (n,)
        Numbers of classes from 0, or numbers; of shape (n, k), 0 and 1, for several labels a row.
    texts : tuple of int
        Columns that are texts.
    n_classes : int
        Number of classes; 0 for labels that are numbers; the number of labels if there are several a row.
    weights : ndarray of shape (n,), optional
        Sample weights.
    """
    buckets = min(BUCKETS, 1 << int(np.log2(MAX_CELLS / max(n_classes, 1))))
    edges = {index: _edges(rows[:, index]) for index in range(rows.shape[1]) if index not in texts}
    of, words = _hashed(rows, texts, edges, buckets)
    weights = np.ones(len(labels)) if weights is None else weights
    if labels.ndim == 2:
        rates, of_all = [], np.bincount(words, weights[of], buckets)[:, None]
        cells = np.column_stack([np.bincount(words, (column * weights)[of], buckets) for column in labels.T])
        for counts in (cells, of_all - cells):
            rates.append(np.log(counts + SMOOTHING) - np.log(counts.sum(0) + SMOOTHING * buckets))
        shares = (weights @ labels + SMOOTHING) / (weights.sum() + 2 * SMOOTHING)
        return WordModel(
            texts=texts,
            edges=edges,
            weights=rates[0] - rates[1],
            prior=np.log(shares / (1 - shares)),
            is_multilabel=True,
        )
    if n_classes:
        codes = labels.astype(np.int64)
        counts = np.bincount(words * n_classes + codes[of], weights[of], buckets * n_classes)
        cells = counts.reshape(buckets, n_classes)
        table = np.log(cells + SMOOTHING) - np.log(cells.sum(0) + SMOOTHING * buckets)
        shares = np.bincount(codes, weights, n_classes) + SMOOTHING
        prior = np.log(shares / shares.sum())
    else:
        mean = float(np.average(labels, weights=weights))
        sums = np.bincount(words, ((labels - mean) * weights)[of], buckets)
        table = (sums / (np.bincount(words, weights[of], buckets) + MIN_COUNT))[:, None]
        prior = np.array([mean])
    return WordModel(texts=texts, edges=edges, weights=table, prior=prior, is_number=not n_classes)


def _hashed(rows: Floats, texts: tuple[int, ...], edges: dict[int, Floats], buckets: int) -> tuple[Ints, Ints]:
    """Return the row and the bucket of each different word of each row, in order of the rows."""
    codes = {index: _bins(rows[:, index], cuts).tolist() for index, cuts in edges.items()}
    strings = {index: text_codes.texts(rows[:, index]) for index in texts}
    found: list[list[int]] = []
    for row in range(len(rows)):
        terms = {f"{index}={values[row]}" for index, values in codes.items()}
        for index, values in strings.items():
            terms.update(f"{index}:{word}" for word in words_of(values[row] or ""))
        found.append([crc32(term.encode("utf-8", "replace")) % buckets for term in sorted(terms)])
    of = np.repeat(np.arange(len(rows)), [len(words) for words in found])
    return of, np.fromiter(chain.from_iterable(found), np.int64, len(of))


def _edges(column: Floats) -> Floats:
    """Return inner edges of at most BINS bins with about as many rows each."""
    known = column[np.isfinite(column)]
    found: Floats = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else np.empty(0)
    return found


def _bins(column: Floats, edges: Floats) -> Ints:
    """Return the bin of each value, int64 (n,): 0 for a missing one."""
    return np.where(np.isnan(column), 0, 1 + np.searchsorted(edges, column, side="right"))
