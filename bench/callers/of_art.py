"""Attack a scikit-learn classifier with the Adversarial Robustness Toolbox; run by bench/security_rows/evasion.py.

usage: of_art.py FOLDER ATTACK

FOLDER has `model.joblib` and `rows.npy`, scaled to [0, 1]. Writes `ATTACK.json`, ATTACK being hsj or boundary.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import joblib
import numpy as np
from art.attacks.evasion import BoundaryAttack, HopSkipJump
from art.estimators.classification import SklearnClassifier


class Counted:
    """The model, which counts its rows."""

    def __init__(self, model):
        self.model, self.queries = model, 0
        self.n_features_in_, self.classes_ = model.n_features_in_, model.classes_

    def predict_proba(self, rows):
        self.queries += len(rows)
        return self.model.predict_proba(rows)


ATTACKS = {"hsj": (HopSkipJump, {"max_iter": 10}), "boundary": (BoundaryAttack, {"max_iter": 200})}


def main(directory: Path, name: str) -> None:
    """Attack all rows with one attack."""
    model, rows = joblib.load(directory / "model.joblib"), np.load(directory / "rows.npy")
    np.random.seed(0)  # its attacks draw from the global generator
    classifier = SklearnClassifier(model=model, clip_values=(0.0, 1.0))
    counted = classifier._model = Counted(model)
    attack, settings = ATTACKS[name]
    began = time.process_time()
    flipped = attack(classifier, targeted=False, verbose=False, **settings).generate(rows)
    cpu_s = time.process_time() - began
    found = {
        "cpu_s": cpu_s,
        "queries": counted.queries / len(rows),
        "turned": (model.predict(flipped) != model.predict(rows)).tolist(),
        "distances": np.linalg.norm(flipped - rows, axis=1).tolist(),
    }
    (directory / f"{name}.json").write_text(json.dumps(found))


main(Path(sys.argv[1]), sys.argv[2])
