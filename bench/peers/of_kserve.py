"""KServe's model server with one worker, without gRPC and without a log line for each request."""

from __future__ import annotations

import logging
import os

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from session import opened


class Onnx(Model):
    """The model, as its documentation writes predictors."""

    def load(self) -> bool:
        """Open the model."""
        self._ask = opened()
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers: object = None, response_headers: object = None) -> object:
        """Rows to answers."""
        answers = self._ask(payload.inputs[0].as_numpy())
        output = InferOutput("scores", list(answers.shape), "FP32")
        output.set_data_from_numpy(answers, binary_data=False)
        return InferResponse(payload.id or "", self.name, [output])


def main() -> None:
    """Serve until a signal."""
    model = Onnx("model")
    model.load()
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).disabled = True
    server = ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False, enable_latency_logging=False)
    server.start([model])
