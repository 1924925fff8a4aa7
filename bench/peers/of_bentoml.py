"""BentoML with one worker and without its access log; adaptive batching if BATCH is more than 1."""

from __future__ import annotations

import bentoml
import numpy as np
from session import BATCH, opened


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, traffic={"timeout": 60})
class Onnx:
    """The model, as its documentation writes services."""

    def __init__(self) -> None:
        self._ask = opened()

    @bentoml.api(batchable=BATCH > 1, max_batch_size=max(BATCH, 2), max_latency_ms=1000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Rows to answers."""
        return self._ask(rows)
