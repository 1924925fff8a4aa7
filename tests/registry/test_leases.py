"""Work on a project that one process at a time does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headway.core.config import Config
from headway.core.errors import LeaseHeld
from headway.registry.project import project_of


def test_the_second_to_start_a_piece_of_work_reads_who_does_it(tmp_path: Path) -> None:
    one, other = project_of(Config(folder=str(tmp_path))), project_of(Config(folder=str(tmp_path)))
    with one.lease("retrain"):
        refused = pytest.raises(LeaseHeld, match="retrain of model is already being done by process")
        with refused as caught, other.lease("retrain"):
            pass
        assert caught.value.hint == "wait until that process ends"
        with other.lease("watch"):
            pass
    with other.lease("retrain"):
        pass


def test_work_that_may_wait_starts_when_the_first_has_ended(tmp_path: Path) -> None:
    one, other = project_of(Config(folder=str(tmp_path))), project_of(Config(folder=str(tmp_path)))
    order: list[str] = []

    def wait() -> None:
        with other.lease("watch", wait_s=60):
            order.append("second")

    second = threading.Thread(target=wait)
    with one.lease("watch"):
        second.start()
        second.join(timeout=0.3)
        assert second.is_alive()
        order.append("first")
    second.join(timeout=60)
    assert order == ["first", "second"]
