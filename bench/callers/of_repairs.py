"""Probabilities of venn-abers and conformal sets of MAPIE, in an environment of their own: `of_repairs.py FROM TO`."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import numpy as np
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from venn_abers import VennAbers


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose columns are its probabilities."""

    def fit(self, rows, labels):
        self.classes_ = np.arange(rows.shape[1])
        self.n_features_in_ = rows.shape[1]
        return self

    def predict_proba(self, rows):
        return rows

    def predict(self, rows):
        return rows.argmax(axis=1)


class Said(RegressorMixin, BaseEstimator):
    """A regression whose only column is its answer."""

    def fit(self, rows, truth):
        self.n_features_in_ = 1
        return self

    def predict(self, rows):
        return rows[:, 0]


def sets_of(kind: str, known, labels, asked):
    """Sets of 90 %, bool [n, k], of probabilities [n, k]; `aps` draws its chance with seed 0."""
    model = Given().fit(known, labels)
    split = SplitConformalClassifier(model, confidence_level=0.9, conformity_score=kind, prefit=True, random_state=0)
    return split.conformalize(known, labels).predict_set(asked)[1][:, :, 0]


def intervals_of(known, truth, asked):
    """Ends of intervals of 90 %, float64 [n, 2]."""
    split = SplitConformalRegressor(Said().fit(known[:, None], truth), confidence_level=0.9, prefit=True)
    return split.conformalize(known[:, None], truth).predict_interval(asked[:, None])[1][:, :, 0]


def by_part(given):
    """Intervals of each part by its own rows."""
    found = np.empty((len(given["asked"]), 2))
    for part in np.unique(given["asked_parts"]):
        known, here = given["parts"] == part, given["asked_parts"] == part
        found[here] = intervals_of(given["scores"][known], given["truth"][known], given["asked"][here])
    return found


def main() -> None:
    """Read calibration and asked scores, write what both libraries say of them."""
    given = np.load(sys.argv[1])
    scores, labels, asked = given["scores"], given["labels"].astype(int), given["asked"]
    two, asked_two = (np.column_stack([1 - each, each]) for each in (scores, asked))
    venn = VennAbers()
    venn.fit(two, labels)
    merged, pairs = venn.predict_proba(asked_two)
    several = (given["several"], given["classes"], given["asked_several"])
    np.savez(
        sys.argv[2],
        merged=merged[:, 1],
        pairs=pairs,
        sets=sets_of("lac", two, labels, asked_two),
        lac=sets_of("lac", *several),
        aps=sets_of("aps", *several),
        intervals=intervals_of(scores, given["truth"], asked),
        by_part=by_part(given),
    )
    print(json.dumps({name: version(name) for name in ("venn-abers", "mapie")}))


if __name__ == "__main__":
    main()
