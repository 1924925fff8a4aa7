"""A row that fails does not affect the other rows of its batch."""

from __future__ import annotations

import numpy as np
import pytest
from headway_echo import Echo
from tests.registry.releases import release

from headway.batch.predict import Scorer
from headway.core.errors import EngineError


class Choosy(Echo):
    """Fails on a batch with a negative number, without the row at fault."""

    calls = 0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The mean of each row."""
        self.calls += 1
        if (rows < 0).any():
            raise EngineError("a negative number")
        return super().predict(rows)


@pytest.mark.parametrize("bad", [[], [0], [5, 6], [99], list(range(100))])
def test_rows_that_fail_in_the_engine_have_errors_and_the_others_have_scores(bad):
    rows = np.arange(300.0).reshape(100, 3)
    rows[bad] = -1
    scores, faults = Scorer(release=release(), engine=Choosy(b"echo", {})).scores(rows)
    assert faults == dict.fromkeys(bad, "a negative number")
    assert np.array_equal(np.flatnonzero(np.isnan(scores[:, 0])), bad)
    assert np.array_equal(np.delete(scores[:, 0], bad), np.delete(rows.mean(axis=1), bad))


def test_a_batch_without_a_fault_is_one_call_of_the_engine():
    engine = Choosy(b"echo", {})
    Scorer(release=release(), engine=engine).scores(np.ones((1000, 3)))
    assert engine.calls == 1
