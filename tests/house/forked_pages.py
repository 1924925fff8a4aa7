"""The Python of a page, in a process of its own: a parent that has the libraries loaded forks it."""

from __future__ import annotations

import os
import runpy
import sys

import lightgbm
import onnxruntime
import pandas
import polars
import sklearn.datasets
from tests.storage.stem import Say

from headway.evaluation import benchmark
from headway.optimization import screening

LOADED = (lightgbm, onnxruntime, pandas, polars, sklearn)


def run_page(say: Say, folder: str, script: str) -> None:
    """Run a script in its folder, as `python SCRIPT` does, with the short timings of all tests."""
    benchmark.ROUND_NS //= 6
    benchmark.PAIRS_NS //= 6
    screening.MAX_TIMING_S = 0.2
    os.chdir(folder)
    sys.path[0] = folder
    say("ready")
    runpy.run_path(script, run_name="__main__")
