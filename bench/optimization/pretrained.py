"""The models of bench/optimize.py that come trained, in packages: a folder with graph, rows and labels of each.

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


def opened(place: Path) -> nn.Module | str:
    """What headway is given: the encoder as a module, the recogniser as the path of its graph."""
    name = (place / NAME).read_text("utf-8")
    return str(place / GRAPH) if name == "ocr" else texts.Encoder(_tokens(name)).eval()


def main() -> None:
    """Write the model that the first argument names into a folder: its graph, `train` and `test` rows, and labels."""
    tiny.apply()
    asked = json.loads(sys.argv[1])
    place, name = Path(asked["place"]), asked["name"]
    (place / NAME).write_text(name, encoding="utf-8")
    train, test, labels = _recogniser(place) if name == "ocr" else _encoder(place, _tokens(name))
    for file, values in {"train": train, "test": test, "test-late": labels}.items():
        np.save(place / f"{file}.npy", values)


def _tokens(name: str) -> int:
    """64 of `minilm.64`."""
    return int(name.partition(".")[2])


def _encoder(place: Path, tokens: int) -> tuple[Any, Any, Any]:
    """Every fourth text is there to calibrate on. Nobody labels embeddings: a label is where its own is greatest."""
    rows = texts.texts(tokens)
    net = texts.Encoder(tokens).eval()
    asked = torch.from_numpy(rows)
    dynamic = ({0: torch.export.Dim("n")},)
    program = torch.onnx.export(net, (asked[:2],), dynamo=True, dynamic_shapes=dynamic, input_names=["rows"])
    program.save(place / GRAPH)
    calibrates = np.arange(len(rows)) % 4 == 3
    with torch.inference_mode():
        labels = net(asked[~calibrates]).argmax(1).numpy()
    return rows[calibrates], rows[~calibrates], labels


def _recogniser(place: Path) -> tuple[Any, Any, Any]:
    listed = pictures.texts()
    onnx.save(pictures.recogniser(listed), place / GRAPH)
    train, test = (pictures.pictures(listed, size) for size in (pictures.TAUGHT, pictures.READ))
    return train, test, np.arange(len(listed))
