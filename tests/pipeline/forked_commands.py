"""Commands that tests kill and interrupt; a parent process that has their libraries loaded forks them."""

from __future__ import annotations

import lightgbm
import onnx
import onnxruntime
from tests.storage.stem import Say

from headway import pipeline
from headway.cli import main as cli
from headway.evaluation import benchmark
from headway.optimization import screening, search

LOADED = (pipeline, lightgbm, onnx, onnxruntime)


def time_briefly() -> None:
    """Let every timing be short, as in the process of the tests (tests/conftest.py)."""
    benchmark.ROUND_NS //= 6
    benchmark.PAIRS_NS //= 6
    screening.MAX_TIMING_S = 0.2
    search.is_shown_faster = lambda *_: None


def command(say: Say, *words: str) -> None:
    """Run `headway` with these words; send `ready` before it starts."""
    time_briefly()
    say("ready")
    cli.main(words)
