"""Whether the loop closes: the watch of drift and quality, retraining, and the canary; each part is a file beside this.

usage: python bench/loop.py [--json]
"""

from __future__ import annotations

import loop_canary
import loop_retrain
import loop_rollback
import loop_watch
from flight_year import year
from harness import report


def main() -> None:
    """Measure every part and print its rows."""
    flights = year()
    report([*loop_watch.rows(flights), *loop_retrain.rows(flights), *loop_canary.rows(), *loop_rollback.rows()])


if __name__ == "__main__":
    main()
