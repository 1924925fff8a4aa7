"""The curve of a torch training loop, for an environment with torch; `tests/engines/test_torch_engine.py` makes one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headway.evaluation.learning_curves.curve import Curve
from headway.evaluation.learning_curves.data import build_curve_data

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(400, 4))
Y = (X[:, 0] + DRAW.normal(size=400) > 0).astype(np.float64)


def curve() -> Curve:
    return Curve(build_curve_data(X[200:], Y[200:], np.arange(200) // 8, task="binary"))


def trained(seen: Curve, epochs: int, **end: object) -> torch.nn.Module:
    """Train a small network with dropout and logits, evaluated after each epoch."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    steps = torch.optim.Adam(net.parameters(), lr=0.05)
    rows, labels = torch.as_tensor(X[:200]).float(), torch.as_tensor(Y[:200]).float()[:, None]
    for _ in range(epochs):
        steps.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(rows), labels).backward()
        steps.step()
        seen.torch(net, **end)
    return net


def test_torch_epochs_are_evaluated_and_training_goes_on():
    seen = curve()
    net = trained(seen, 10, end=torch.sigmoid)
    found = seen.record()
    assert net.training and len(found.rounds) == 10 and found.library == "torch"
    with torch.no_grad():
        scores = torch.sigmoid(net.eval()(torch.as_tensor(X[200:]).float())).double()[:, 0]
    own = torch.nn.functional.binary_cross_entropy(scores, torch.as_tensor(Y[200:]))
    assert found.rounds[-1].error("log_loss").value == pytest.approx(float(own), rel=1e-5)


def test_torch_logits_are_rejected_with_a_hint():
    seen = curve()
    trained(seen, 2)
    assert "end=torch.sigmoid" in seen.record().reading.why
