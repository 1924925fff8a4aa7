"""Convert LightGBM to ONNX by onnxmltools, as users of the other servers do."""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType


def main() -> None:
    """Read the model file that is the first argument, and write a graph with probabilities alone to the second."""
    model = lightgbm.Booster(model_file=sys.argv[1])
    types = [("rows", FloatTensorType([None, model.num_feature()]))]
    proto = convert_lightgbm(model, initial_types=types, zipmap=False, target_opset=15)
    answers = [port for port in proto.graph.output if port.name == "probabilities"]
    del proto.graph.output[:]
    proto.graph.output.extend(answers)
    Path(sys.argv[2]).write_bytes(proto.SerializeToString())
