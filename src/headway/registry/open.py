"""Open a verified release with its engine, and check its self-test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headway.core.errors import Refused
from headway.core.plugins import load_engine
from headway.core.release import Release, SelfTest
from headway.registry.bundle import Bundle

if TYPE_CHECKING:
    from headway.core.contracts import Engine, Floats


def open_release(bundle: Bundle) -> Engine:
    """Open the engine of a verified release, and check that it passes its self-test.

    The self-test runs only the engine, on complete rows and before the calibrator, because another machine or library
    can change nothing else. Raises Refused if an answer differs from the recorded one, if there is no self-test, or if the
    calibrator does not fit the task.
    """
    release, variant = bundle.release, bundle.release.variant
    engine = load_engine(variant.engine)(bundle.model, variant.settings)
    _answer_self_test(engine, release.self_test, where=f"{release.name} {bundle.digest}")
    _expect_probability(release)
    return engine


def _expect_probability(release: Release) -> None:
    variant = release.variant
    if release.calibrator and variant.task != "binary":
        raise Refused(f"the release of a {variant.task} model has a calibrator, which sets one probability right")


def _answer_self_test(engine: Engine, test: SelfTest, *, where: str) -> None:
    """Check all rows at once and each alone, because traffic decides the batch size."""
    if not test.rows:
        raise Refused("the release has no self-test, so nothing shows that it answers right here", where=where)
    rows = np.array(test.rows, dtype=np.float64)
    expected = np.array(test.answers, dtype=np.float64)
    alone = np.concatenate([engine.predict(rows[i : i + 1]) for i in range(len(rows))])
    for answers, how in ((engine.predict(rows), "together"), (alone, "one by one")):
        off = _off(answers, expected)
        if not off <= test.tolerance:
            raise Refused(
                f"the release fails its self-test: {len(rows)} rows {how} are off by up to {off:g}, "
                f"more than {test.tolerance:g}",
                where=where,
                hint="it was made on another machine or library: release it anew from here, or serve it there",
            )


def _off(answers: Floats, expected: Floats) -> float:
    """Return the largest difference; infinite if the shapes differ, and NaN equals only NaN."""
    if answers.shape != expected.shape:
        return float("inf")
    same = (answers == expected) | (np.isnan(answers) & np.isnan(expected))
    off = np.where(same, 0.0, np.abs(answers - expected))
    return float(np.nan_to_num(off, nan=np.inf).max())
