"""The networks of bench/optimize.py, trained with fixed seeds; run by a Python of the environment that has torch.

`mlp` reads the 20 columns of the flights, embeds category codes and prepares the numbers inside; `cnn` reads digits.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import tiny

TEXTS, MOST_TEXTS, BATCH, SEED = 3, 128, 512, 1


class Mlp(nn.Module):
    """Embeddings and dense layers of 256, 256 and 128; missing values and scaling are handled in the graph."""

    def __init__(self, columns: int = 20) -> None:
        super().__init__()
        numbers = columns - TEXTS
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("scale", torch.ones(numbers))
        self.embed = nn.ModuleList(nn.Embedding(MOST_TEXTS, 8) for _ in range(TEXTS))
        sizes = [TEXTS * 8 + 2 * numbers, 256, 256, 128]
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.dense = nn.Sequential(*layers, nn.Linear(128, 1), nn.Sigmoid())
        self.example_input_array = torch.zeros(1, columns)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: float32 [n, 20], missing as NaN -> probabilities [n, 1]."""
        ranks = (torch.nan_to_num(rows[:, :TEXTS], nan=-1.0) + 1).clamp(0, MOST_TEXTS - 1).long()
        texts = [embed(ranks[:, index]) for index, embed in enumerate(self.embed)]
        numbers = (rows[:, TEXTS:] - self.mean) / self.scale
        absent = torch.isnan(numbers)
        known = torch.where(absent, torch.zeros_like(numbers), numbers)
        return self.dense(torch.cat([*texts, known, absent.float()], dim=1))


class Cnn(nn.Module):
    """Three convolutions and two dense layers on 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 16, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
            nn.Softmax(dim=1),
        )
        self.example_input_array = torch.zeros(1, 64)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """rows: float32 [n, 64], 0 to 16 -> probabilities [n, 10]."""
        found: torch.Tensor = self.layers((rows / 16).reshape(-1, 1, 8, 8))
        return found


NETS = {"mlp": Mlp, "cnn": Cnn}


def load_model(directory: Path) -> nn.Module:
    """Return the trained network of a folder in evaluation mode."""
    net = NETS[(directory / "name").read_text("utf-8")]()
    net.load_state_dict(torch.load(directory / "weights.pt", weights_only=True))
    return net.eval()


def main() -> None:
    """Train the network that the first argument names into a folder, with its graph, and `train` and `test` rows."""
    tiny.apply()
    order = json.loads(sys.argv[1])
    directory, name = Path(order["directory"]), order["name"]
    torch.manual_seed(SEED)
    train, labels, test, expected = _flights(Path(order["rows"])) if name == "mlp" else _digits()
    net = NETS[name]()
    if isinstance(net, Mlp):
        net.mean.copy_(torch.from_numpy(np.nanmean(train[:, TEXTS:], axis=0)))
        net.scale.copy_(torch.from_numpy(np.nanstd(train[:, TEXTS:], axis=0) + 1e-6))
    _fit(net, torch.from_numpy(train).float(), torch.from_numpy(labels), epochs=3 if name == "mlp" else 30)
    torch.save(net.state_dict(), directory / "weights.pt")
    rows = torch.from_numpy(train[:2]).float()
    dynamic = ({0: torch.export.Dim("n")},)
    program = torch.onnx.export(net.eval(), (rows,), dynamo=True, dynamic_shapes=dynamic, input_names=["rows"])
    program.save(directory / "model.onnx")
    (directory / "name").write_text(name, encoding="utf-8")
    for file, values in {"train": train[:5_000], "test": test, "test-late": expected}.items():
        np.save(directory / f"{file}.npy", values)


def _fit(net: nn.Module, rows: torch.Tensor, labels: torch.Tensor, *, epochs: int) -> None:
    by = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows)).split(BATCH):
            found = net(rows[chosen]).clamp(1e-6, 1 - 1e-6)
            binary = found.shape[1] == 1
            wanted = labels[chosen]
            loss = (
                nn.functional.binary_cross_entropy(found[:, 0], wanted.float())
                if binary
                else nn.functional.nll_loss(found.log(), wanted)
            )
            by.zero_grad()
            loss.backward()
            by.step()


def _flights(directory: Path) -> tuple[Any, Any, Any, Any]:
    train, labels = np.load(directory / "train.npy"), np.load(directory / "train-late.npy")
    mixed = np.random.default_rng(SEED).permutation(len(train))
    return train[mixed], labels[mixed], np.load(directory / "test.npy"), np.load(directory / "test-late.npy")


def _digits() -> tuple[Any, Any, Any, Any]:
    images, labels = load_digits(return_X_y=True)
    mixed = np.random.default_rng(SEED).permutation(len(images))
    train, test = mixed[:1_000], mixed[1_000:]
    return images[train], labels[train].astype(np.int64), images[test], labels[test].astype(np.int64)
