"""Simulated days with known truth: rows of one day share a shift, so that only intervals by day can be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from headway_echo import Echo
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.contracts import SliceColumn
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.evaluation import benchmark
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.tables import BinaryAnswers

WHOLE = {name: getattr(benchmark, name) for name in ("ROUND_NS", "PAIRS_NS")}


@pytest.fixture
def whole_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in rounds as long as those of a user, which the tests shorten."""
    for name, lasts_ns in WHOLE.items():
        monkeypatch.setattr(benchmark, name, lasts_ns)


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def subject_from(
    labels: Floats,
    scores: Floats,
    reference: Floats,
    groups: NDArray[np.int64],
    slices: Mapping[str, SliceColumn] | None = None,
    task: str = "binary",
) -> Comparison:
    """Return a comparison of these answers.

    Both engines are the echo of the tests, whose row is the reference score.
    """
    variant = Variant(
        artifact=Artifact(format="echo", digest=f"sha256:{'0' * 64}", size_bytes=4),
        engine="echo",
        signature=Signature(inputs=(Field(name="score"),)),
        task=task,
    )
    return Comparison(
        variant=variant,
        model=Echo(b"echo", {}),
        reference=Echo(b"echo", {}),
        rows=reference[:, None].copy(),
        labels=labels,
        scores=scores[:, None],
        reference_scores=reference[:, None],
        groups=groups,
        slices=slices or {},
        threshold=0.3,
    )


def days(
    rng: np.random.Generator, *, count: int, rows: int = 60, lean: float = 0.0, harm: float = 0.5
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Return labels, scores of a variant, scores of the baseline, and the day of each row.

    A day shifts the odds of its outcomes (`lean`: correlation of the shift with that of the day before) and the error
    of the variant, which `harm` scales; the baseline knows the odds of each row but not the day.
    """
    noise = rng.normal(size=count)
    shift = np.empty(count)
    shift[0] = noise[0]
    for day in range(1, count):
        shift[day] = lean * shift[day - 1] + np.sqrt(1 - lean**2) * noise[day]
    sizes = rng.integers(rows // 2, rows * 3 // 2, count)
    day = np.repeat(np.arange(count), sizes)
    own = rng.normal(-1.2, 0.8, len(day))
    labels = (rng.random(len(day)) < sigmoid(own + 0.6 * shift[day])).astype(np.float64)
    off = harm * (rng.normal(size=count)[day] * 0.5 + rng.normal(size=len(day)) * 0.5)
    return labels, sigmoid(own + off), sigmoid(own), day


def answers_from(labels: Floats, scores: Floats, reference: Floats, day: NDArray[np.int64]) -> BinaryAnswers:
    """Return the same as the answers that tables are made of."""
    count = int(day.max()) + 1
    return BinaryAnswers(
        labels=labels,
        scores=scores,
        reference=reference,
        groups=day,
        blocks=day,
        n_blocks=count,
        n_groups=count,
    )


@pytest.fixture
def make_subject() -> Callable[..., Comparison]:
    """Makes a comparison over `count` days, seeded; `slices` adds a column with that many equally common values."""

    def make(*, count: int = 30, seed: int = 0, slices: int = 0, **settings: float) -> Comparison:
        rng = np.random.default_rng(seed)
        labels, scores, reference, day = days(rng, count=count, **settings)
        if not slices:
            return subject_from(labels, scores, reference, day)
        column = SliceColumn(
            codes=rng.integers(0, slices, len(labels)), values=tuple(f"v{number}" for number in range(slices))
        )
        return subject_from(labels, scores, reference, day, {"part": column})

    return make
