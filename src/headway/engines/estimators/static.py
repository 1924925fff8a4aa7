"""Distil a sentence encoder into one vector per word, and train a linear model on the sums of these vectors.

The words of the training texts, and common ones of the tokenizer, are encoded one by one. Principal components shorten
the vectors (Raunak et al. 2019), and frequent words count less (smooth inverse frequency, Arora et al. 2017), as
model2vec combines them. The result is an ordinary pipeline of scikit-learn, which engine `text` runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

from headway.core.arrays import Floats, Ints

SMOOTHING = 0.03
"""Share of all words at which a word counts half."""
_TOKENS = r"(?u)\b\w+\b"
_COMMON_WORDS, _STRENGTH, _ITERATIONS = 10_000, 30.0, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticVectors:
    """A vector for each word, float64 (words, width), its components in the order of their variance."""

    words: tuple[str, ...]
    vectors: Floats


def encode_words(texts: Sequence[str], common: Sequence[str], encode: Callable[[Sequence[str]], Any]) -> StaticVectors:
    """Encode the words of texts, and at most 10,000 other common ones that texts may have later.

    Parameters
    ----------
    common : sequence of str
        Tokens in the order of their frequency; parts of words are left out.
    encode : callable
        Returns the vectors of texts, (n, width).
    """
    counter = CountVectorizer(token_pattern=_TOKENS)
    counts = np.asarray(counter.fit_transform(texts).sum(axis=0), np.float64).ravel()
    own = counter.get_feature_names_out().tolist()
    others = [word for word in common if re.fullmatch(r"\w+", word) and word == word.lower() and not word.isupper()]
    more = [word for word in others if word not in counter.vocabulary_][:_COMMON_WORDS]
    shares = np.concatenate([counts / counts.sum(), np.zeros(len(more))])
    vectors = np.asarray(encode([*own, *more]), np.float64)
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return StaticVectors(words=(*own, *more), vectors=centred @ axes * (SMOOTHING / (SMOOTHING + shares))[:, None])


def fit_static(
    texts: Sequence[str], labels: Ints, static: StaticVectors, *, components: int, weights: Floats | None = None
) -> Pipeline:
    """Fit a logistic regression on the sums of the first components of the vectors, at length 1."""
    table = static.vectors[:, :components]
    counter = CountVectorizer(vocabulary={word: at for at, word in enumerate(static.words)}, token_pattern=_TOKENS)
    counter.fit(texts)
    projection = TruncatedSVD(n_components=table.shape[1])
    projection.components_, projection.n_features_in_ = np.ascontiguousarray(table.T), len(table)
    norm = Normalizer().fit(table[:1])
    rows = norm.transform(projection.transform(counter.transform(texts)))
    model = LogisticRegression(C=_STRENGTH, max_iter=_ITERATIONS).fit(rows, labels, sample_weight=weights)
    return make_pipeline(counter, projection, norm, model)
