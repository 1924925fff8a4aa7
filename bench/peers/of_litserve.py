"""LitServe with one worker, its fast queue and, if BATCH is more than 1, its batching."""

from __future__ import annotations

import os

import litserve
import numpy as np
from session import BATCH, opened


class Onnx(litserve.LitAPI):
    """The model, as its documentation writes APIs; requests of several rows are concatenated."""

    def setup(self, device: str) -> None:
        """Open the model."""
        self._ask = opened()

    def decode_request(self, request: dict[str, list[list[float]]]) -> np.ndarray:
        """Rows of a request."""
        return np.asarray(request["rows"], dtype=np.float32)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Rows of several requests, with how many each has."""
        self._ends = np.cumsum([len(rows) for rows in inputs])[:-1]
        return np.concatenate(inputs)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Rows to answers."""
        return self._ask(rows)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """The answers of each request."""
        return np.split(output, self._ends)

    def encode_response(self, output: np.ndarray) -> dict[str, list[list[float]]]:
        """The answers of a request as JSON has them."""
        return {"output": output.tolist()}


def main() -> None:
    """Serve until a signal."""
    api = Onnx(max_batch_size=BATCH, batch_timeout=0.001 if BATCH > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(port=int(os.environ["PORT"]), host="127.0.0.1", generate_client_file=False, log_level="warning")
