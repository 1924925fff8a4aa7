"""Compute the quality of labels with cleanlab, by its own recipe and on given probabilities.

usage: of_cleanlab.py INPUT.npz OUTPUT.npz
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from time import process_time

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import lightgbm
import numpy as np
from cleanlab.rank import get_label_quality_scores
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC


def model_of(name: str, texts):
    """Return LightGBM for the flights, a support vector machine for the digits."""
    if name == "digits":
        return SVC(gamma=0.001, probability=True, random_state=0), {}
    trees = lightgbm.LGBMClassifier(n_estimators=80, num_leaves=31, random_state=0, n_jobs=1, verbose=-1)
    return trees, {"categorical_feature": texts.tolist()}


def main() -> None:
    """Read rows, labels and probabilities of each table; write label quality scores and CPU times."""
    arrays, found, took = np.load(sys.argv[1]), {}, {}
    for name in ("flights", "digits"):
        rows, labels = arrays[f"{name}.rows"], arrays[f"{name}.labels"]
        model, words = model_of(name, arrays["texts"])
        drawn = StratifiedKFold(5, shuffle=True, random_state=0)
        began = process_time()
        own = cross_val_predict(model, rows, labels, cv=drawn, method="predict_proba", params=words)
        found[f"{name}.own"] = get_label_quality_scores(labels, own, method="self_confidence")
        took[name] = round(process_time() - began, 1)
        found[f"{name}.same"] = get_label_quality_scores(
            labels, arrays[f"{name}.out_of_fold"], method="self_confidence"
        )
        found[f"{name}.probabilities"] = own
    np.savez(sys.argv[2], **found)
    print(json.dumps({"cleanlab": version("cleanlab"), "cpu_s": took}))


if __name__ == "__main__":
    main()
