"""MLServer with a custom runtime; its settings configure adaptive batching and workers."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from session import opened


class Onnx(MLModel):
    """The model, as its documentation writes custom runtimes."""

    async def load(self) -> bool:
        """Open the model."""
        self._ask = opened()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Rows to answers."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("scores", self._ask(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
