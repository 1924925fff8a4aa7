"""Benchmark what runs on more than one process or machine. Each part is a module or a function of bench/scale_rows/."""

from __future__ import annotations

from collections.abc import Callable

from harness import Result, run_parts
from scale_rows import images, log, models, predict

PARTS: dict[str, Callable[[], Result]] = {
    "predict": predict.share,
    "killed_worker": predict.killed_worker,
    "killed_driver": predict.killed_driver,
    "images": images.image_and_start,
    "pointers": models.pointers,
    "polls": models.polls,
    "log": log.rows,
    "log_on_s3": log.on_s3,
    "watch": log.watch,
}

if __name__ == "__main__":
    run_parts(__doc__, PARTS)
