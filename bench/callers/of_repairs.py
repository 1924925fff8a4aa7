"""Compute calibrated probabilities with venn-abers and conformal sets with MAPIE.

usage: of_repairs.py INPUT.npz OUTPUT.npz
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import numpy as np
from mapie.classification import SplitConformalClassifier
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from venn_abers import VennAbers


class GivenScores(ClassifierMixin, BaseEstimator):
    """A classifier whose columns are its probabilities."""

    def fit(self, rows, labels):
        self.classes_ = np.arange(rows.shape[1])
        self.n_features_in_ = rows.shape[1]
        return self

    def predict_proba(self, rows):
        return rows

    def predict(self, rows):
        return rows.argmax(axis=1)


class GivenPredictions(RegressorMixin, BaseEstimator):
    """A regressor whose only column is its prediction."""

    def fit(self, rows, truth):
        self.n_features_in_ = 1
        return self

    def predict(self, rows):
        return rows[:, 0]


def sets_of(kind: str, known, labels, queries):
    """Sets of 90 %, bool [n, k], of probabilities [n, k]; `aps` draws its chance with seed 0."""
    model = GivenScores().fit(known, labels)
    split = SplitConformalClassifier(model, confidence_level=0.9, conformity_score=kind, prefit=True, random_state=0)
    return split.conformalize(known, labels).predict_set(queries)[1][:, :, 0]


def intervals_of(known, truth, queries):
    """Ends of intervals of 90 %, float64 [n, 2]."""
    split = SplitConformalRegressor(GivenPredictions().fit(known[:, None], truth), confidence_level=0.9, prefit=True)
    return split.conformalize(known[:, None], truth).predict_interval(queries[:, None])[1][:, :, 0]


def by_part(arrays):
    """Return the intervals of each part, calibrated on its own rows."""
    found = np.empty((len(arrays["queries"]), 2))
    for part in np.unique(arrays["query_parts"]):
        known, here = arrays["parts"] == part, arrays["query_parts"] == part
        found[here] = intervals_of(arrays["scores"][known], arrays["truth"][known], arrays["queries"][here])
    return found


def main() -> None:
    """Read calibration and query scores, write the results of both libraries."""
    arrays = np.load(sys.argv[1])
    scores, labels, queries = arrays["scores"], arrays["labels"].astype(int), arrays["queries"]
    two, queries_two = (np.column_stack([1 - column, column]) for column in (scores, queries))
    venn = VennAbers()
    venn.fit(two, labels)
    merged, pairs = venn.predict_proba(queries_two)
    several = (arrays["several"], arrays["classes"], arrays["query_several"])
    np.savez(
        sys.argv[2],
        merged=merged[:, 1],
        pairs=pairs,
        sets=sets_of("lac", two, labels, queries_two),
        lac=sets_of("lac", *several),
        aps=sets_of("aps", *several),
        intervals=intervals_of(scores, arrays["truth"], queries),
        by_part=by_part(arrays),
    )
    print(json.dumps({name: version(name) for name in ("venn-abers", "mapie")}))


if __name__ == "__main__":
    main()
