"""Learning curve of torch, which has no training loop: call it in your own loop after each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class Torch:
    """Evaluates a module after each epoch; `end` turns its answers into probabilities (`torch.sigmoid`)."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, module: Any, *, end: Callable[[Any], Any] = lambda answers: answers) -> None:
        """Evaluate the module in evaluation mode, and restore its mode."""
        torch = sys.modules["torch"]
        self._recorder.set_recipe("torch", module)
        learns, first = module.training, next(iter(module.parameters()))

        def ask(rows: Any) -> Any:
            with torch.no_grad():
                given = torch.as_tensor(to_numpy(rows)).to(first.device, first.dtype)
                return end(module(given)).cpu().double().numpy()

        module.eval()
        try:
            self._recorder.evaluate(self._recorder.last + 1, ask)
        finally:
            module.train(learns)
