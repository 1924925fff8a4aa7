"""The errors of a round of training."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.training import Round


def test_an_error_is_that_on_held_out_rows_unless_training_rows_are_meant() -> None:
    held_out, learned = (
        Measurement(name="log_loss", value=value, low=0.0, high=1.0, method="m", n_rows=9) for value in (0.6, 0.4)
    )
    found = Round(number=1, held_out=(held_out,), learned=(learned,))
    assert found.error("log_loss") is held_out and found.error("log_loss", learned=True) is learned
    assert found.error("auc") is None
