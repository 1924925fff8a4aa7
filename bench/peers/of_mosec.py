"""mosec with one worker that receives up to BATCH requests at once; orjson reads and writes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import orjson
from mosec import Server, Worker
from session import BATCH, opened


class Onnx(Worker):
    """The model, as its documentation writes workers."""

    def __init__(self) -> None:
        self._ask = opened()

    def deserialize(self, data: bytes) -> Any:
        """A request."""
        return orjson.loads(data)

    def serialize(self, data: Any) -> bytes:
        """An answer."""
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)

    def forward(self, data: list[Any]) -> list[Any]:
        """Requests to answers, by one call of the model."""
        parts = [np.asarray(request["rows"], dtype=np.float32) for request in data]
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return np.split(self._ask(np.concatenate(parts)), ends)


def main() -> None:
    """Serve until a signal."""
    server = Server()
    server.append_worker(Onnx, num=1, max_batch_size=BATCH, max_wait_time=int(os.environ.get("WAIT_MS", "1")))
    server.run()
