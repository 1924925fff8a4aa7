"""torch has no loop of its own: it is called in the loop that the user writes, after each epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from headway.evaluation.learning_curves.recorder import Recorder, to_numpy


class Torch:
    """Called with the module after each epoch; `end` makes its answers probabilities (`torch.sigmoid`)."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __call__(self, module: Any, *, end: Callable[[Any], Any] = lambda said: said) -> None:
        """Look at the module as it answers when it does not learn, and leave it as it was."""
        torch = sys.modules["torch"]
        self._recorder.told("torch", module)
        learns, first = module.training, next(iter(module.parameters()))

        def ask(rows: Any) -> Any:
            with torch.no_grad():
                given = torch.as_tensor(to_numpy(rows)).to(first.device, first.dtype)
                return end(module(given)).cpu().double().numpy()

        module.eval()
        try:
            self._recorder.look(self._recorder.last + 1, ask)
        finally:
            module.train(learns)
