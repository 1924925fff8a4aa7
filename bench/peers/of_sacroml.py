"""Attack a LightGBM model by sacroml's offline LiRA: python of_sacroml.py ROWS.npz TREES MODELS prints JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from importlib.metadata import version

import lightgbm
import numpy as np
from sacroml.attacks.likelihood_attack import LIRAAttack
from sacroml.attacks.target import Target


def main() -> None:
    """Train the model, attack it, and print the time of the attack and its answer."""
    data = np.load(sys.argv[1])
    trees, models = int(sys.argv[2]), int(sys.argv[3])
    rows, labels = data["rows"], data["labels"].astype(int)
    others, other_labels = data["other_rows"], data["other_labels"].astype(int)
    model = lightgbm.LGBMClassifier(n_estimators=trees, num_leaves=31, n_jobs=1, verbose=-1, random_state=0)
    model.fit(rows, labels)
    target = Target(model=model, dataset_name="rows", X_train=rows, y_train=labels, X_test=others, y_test=other_labels)
    attack = LIRAAttack(output_dir="out", write_report=False, n_shadow_models=models, mode="offline")
    began, cpu = time.perf_counter(), time.process_time()
    attack.attack(target)
    found = attack.attack_metrics[0]
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "cpu": time.process_time() - cpu,
                "auc": float(found["AUC"]),
                # Its own TPR@0.01% is at a false-positive rate of a hundredth of a percent.
                "tpr_1pct": float(np.interp(0.01, found["fpr"], found["tpr"])),
                "version": version("sacroml"),
            }
        )
    )


logging.disable(logging.CRITICAL)
os.environ.setdefault("OMP_NUM_THREADS", "1")
main()
