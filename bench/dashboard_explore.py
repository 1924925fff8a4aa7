"""Figure `explore_ms`: time of the page Explore after a choice, with other choices each time.

`bench/dashboard.py` serves the flights of the demo and calls this with a person who is signed in.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import numpy as np

from headway.core.arrays import Floats

REPEATS, SEED = 200, 0
READY_WITHIN_S = 600.0
LIMIT_MS = 200.0
Visit = Callable[[str], tuple[int, str]]
"""Opens a path and returns status and text of its page."""


def explore_ms(visit: Visit, model: str, *, repeats: int = REPEATS) -> Floats:
    """Return the time of each answer of the page Explore of a model, in ms; each has other choices.

    The tables of the search are made first, if they are not there: that is done once and not timed.

    Parameters
    ----------
    visit : callable
        Opens a path as a person who is signed in.
    repeats : int
        Number of answers.
    """
    path = f"/models/{model}/explore"
    choices = choices_of(_ready(visit, path))
    spent = []
    for chosen in itertools.islice(_random(choices), repeats):
        address = f"{path}?{urlencode(chosen)}"
        began = time.perf_counter()
        status, text = visit(address)
        spent.append((time.perf_counter() - began) * 1e3)
        assert status == 200 and "Cost of a decision" in text, address
    return np.array(spent)


def p95(times: Floats) -> float:
    """Return the 95th percentile, which is to be at most `LIMIT_MS`."""
    return float(np.quantile(times, 0.95))


def choices_of(page: str) -> dict[str, list[str]]:
    """Return the values of each list of the page."""
    lists = re.findall(r'<select id="(\w+)".*?>(.*?)</select>', page, re.DOTALL)
    return {name: re.findall(r'<option value="([^"]*)"', options) for name, options in lists}


def _ready(visit: Visit, path: str) -> str:
    deadline = time.monotonic() + READY_WITHIN_S
    while "data-waiting" in (text := visit(path)[1]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the tables of {path} were not made within {READY_WITHIN_S:.0f} s")
        time.sleep(1)
    return text


def _random(choices: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    draw = np.random.default_rng(SEED)
    while True:
        chosen = {name: str(draw.choice(values)) for name, values in choices.items() if name != "month"}
        if draw.random() < 0.3 and len(choices.get("month", ())) > 1:
            chosen = {**chosen, "missing": "", "month": str(draw.choice(choices["month"]))}
        yield {
            **chosen,
            "threshold": f"{draw.random():.3f}",
            "false_positive": str(draw.integers(1, 20)),
            "false_negative": str(draw.integers(1, 20)),
        }
