"""A network as torch runs it, eagerly."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from callers.call import Call, Order


def as_called(order: Order) -> Call:
    """The module in inference mode, with the threads that torch takes by itself."""
    net = importlib.import_module(order.options.get("opener", "optimization.nets")).load_model(order.model)

    def predict(rows: Any) -> Any:
        with torch.inference_mode():
            return net(torch.from_numpy(rows).float()).numpy()

    return Call(predict)


def one_thread(order: Order) -> Call:
    """The same on one thread."""
    torch.set_num_threads(1)
    return as_called(order)
