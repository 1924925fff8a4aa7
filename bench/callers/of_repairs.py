"""Probabilities of venn-abers and conformal sets of MAPIE, in an environment of their own: `of_repairs.py FROM TO`."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import numpy as np
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from venn_abers import VennAbers


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose only column is its probability."""

    def fit(self, rows, labels):
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = 1
        return self

    def predict_proba(self, rows):
        return np.column_stack([1 - rows[:, 0], rows[:, 0]])

    def predict(self, rows):
        return (rows[:, 0] >= 0.5).astype(int)


def main() -> None:
    """Read calibration and asked scores, write what both libraries say of them."""
    given = np.load(sys.argv[1])
    scores, labels, asked = given["scores"], given["labels"].astype(int), given["asked"]
    venn = VennAbers()
    venn.fit(np.column_stack([1 - scores, scores]), labels)
    merged, pairs = venn.predict_proba(np.column_stack([1 - asked, asked]))
    model = Given().fit(scores[:, None], labels)
    split = SplitConformalClassifier(model, confidence_level=0.9, conformity_score="lac", prefit=True)
    _, sets = split.conformalize(scores[:, None], labels).predict_set(asked[:, None])
    np.savez(sys.argv[2], merged=merged[:, 1], pairs=pairs, sets=sets[:, :, 0])
    print(json.dumps({name: version(name) for name in ("venn-abers", "mapie")}))


if __name__ == "__main__":
    main()
