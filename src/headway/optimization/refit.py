"""Refit a stored model on folds of its training rows, in a subprocess whose time and memory are limited.

The settings in a model file decide how long a refit takes, and files may come from anywhere. What the file holds is
opened by its engine, as everywhere.

Usage of the subprocess: `python -m headway.optimization.refit ENGINE FOLDER`, with `model` and `rows.npz` in the
folder; it writes `answers.npy`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import LabeledData
from headway.core.errors import HeadwayError, NotApplicable
from headway.core.plugins import load_engine
from headway.optimization.importers.models import subprocess_environment
from headway.optimization.importers.trial import REFUSED, limit_memory
from headway.optimization.transforms._students import cross_answers

MEMORY_MB = 8192


def refitted_answers(engine: str, content: bytes, data: LabeledData, folds: Ints, *, limit_s: float) -> Floats:
    """Return the answers (n, k) to each row of a model that was refitted on the other folds.

    Parameters
    ----------
    engine : str
        Name of the engine of the model.
    content : bytes
        Its artifact.
    data : LabeledData
        Training rows.
    folds : ndarray of shape (n,)
        Fold of each row.
    limit_s : float
        Time limit of all refits, seconds.

    Raises
    ------
    NotApplicable
        If the engine cannot refit the model, or not within the limits.
    """
    if not hasattr(load_engine(engine), "refit"):
        raise NotApplicable(f"engine {engine!r} cannot refit a model")
    with tempfile.TemporaryDirectory(prefix="headway-") as name:
        folder = Path(name)
        (folder / "model").write_bytes(content)
        weights = np.empty(0) if data.weights is None else data.weights
        np.savez(folder / "rows.npz", rows=data.rows, labels=data.labels, folds=folds, weights=weights)
        command = [sys.executable, "-m", "headway.optimization.refit", engine, name]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        try:
            run = subprocess.run(
                command,
                env=subprocess_environment() | one_thread,
                check=False,
                capture_output=True,
                text=True,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired as error:
            raise NotApplicable(f"the refits took more than {limit_s:.3g} s") from error
        if run.returncode:
            raise NotApplicable(run.stdout if run.returncode == REFUSED else "a refit ended its process")
        answers: Floats = np.load(folder / "answers.npy")
        return answers


def main(engine: str, name: str) -> int:
    """Refit and answer; exit 3 with the reason on standard output if the model cannot be refitted."""
    folder, kind = Path(name), load_engine(engine)
    content, data = (folder / "model").read_bytes(), np.load(folder / "rows.npz")
    rows, labels, weights = data["rows"], data["labels"], data["weights"]
    refit: Any = kind.refit  # type: ignore[attr-defined]
    limit_memory(MEMORY_MB)
    np.random.seed(0)  # estimators without a random_state draw from it

    def answers(learned: Ints, own: Ints) -> Floats:
        some = weights[learned] if len(weights) else None
        return kind(refit(content, rows[learned], labels[learned], some), {"threads": 1}).predict(rows[own])

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = cross_answers(data["folds"], answers)
    except HeadwayError as error:
        sys.stdout.write(error.what)
        return REFUSED
    np.save(folder / "answers.npy", found)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
