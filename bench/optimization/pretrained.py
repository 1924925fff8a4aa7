"""The pretrained models of bench/optimize.py, from packages: a folder with graph, rows and labels of each.

It is run by a Python of the environment that has torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

import tiny
from optimization import pictures as pictures
from optimization import sentences as texts

GRAPH, NAME = "model.onnx", "name"


def load_model(directory: Path) -> nn.Module | str:
    """Return the input of headway: the encoder as a module, the recogniser as the path of its graph."""
    name = (directory / NAME).read_text("utf-8")
    return str(directory / GRAPH) if name == "ocr" else texts.Encoder(_tokens(name)).eval()


def main() -> None:
    """Write the model that the first argument names into a folder: its graph, `train` and `test` rows, and labels."""
    tiny.apply()
    order = json.loads(sys.argv[1])
    directory, name = Path(order["directory"]), order["name"]
    (directory / NAME).write_text(name, encoding="utf-8")
    train, test, labels = _recogniser(directory) if name == "ocr" else _encoder(directory, _tokens(name))
    for file, values in {"train": train, "test": test, "test-late": labels}.items():
        np.save(directory / f"{file}.npy", values)


def _tokens(name: str) -> int:
    """Return 64 for `minilm.64`."""
    return int(name.partition(".")[2])


def _encoder(directory: Path, tokens: int) -> tuple[Any, Any, Any]:
    """Use every fourth text for calibration. Embeddings have no labels: a label is the index of the largest value."""
    rows = texts.texts(tokens)
    net = texts.Encoder(tokens).eval()
    queries = torch.from_numpy(rows)
    dynamic = ({0: torch.export.Dim("n")},)
    program = torch.onnx.export(net, (queries[:2],), dynamo=True, dynamic_shapes=dynamic, input_names=["rows"])
    program.save(directory / GRAPH)
    calibrates = np.arange(len(rows)) % 4 == 3
    with torch.inference_mode():
        labels = net(queries[~calibrates]).argmax(1).numpy()
    return rows[calibrates], rows[~calibrates], labels


def _recogniser(directory: Path) -> tuple[Any, Any, Any]:
    listed = pictures.texts()
    onnx.save(pictures.recogniser(listed), directory / GRAPH)
    train, test = (pictures.pictures(listed, size) for size in (pictures.TAUGHT, pictures.READ))
    return train, test, np.arange(len(listed))
