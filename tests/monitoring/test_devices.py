"""What devices answered is compared with what their releases answer on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.serving.running import project as served_project
from tests.serving.test_device_reports import columns

from headway.monitoring import devices
from headway.monitoring.devices import compare_devices
from headway.registry.device_logs import save_segment
from headway.registry.project import Project, open_project
from headway.reporting.text.fleet import describe_disagreement
from headway.storage import segments

OTHER = "sha256:" + "1" * 64


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    served_project(tmp_path)
    (tmp_path / "headway.toml").write_text(
        '[project]\nname = "flights"\n[trust]\npublisher_key = "keys/publisher.pem"\n'
    )
    opened = open_project(tmp_path)
    yield opened
    opened.state.close()


def ship(project: Project, device: str, *, digest: str = "", wrong: int = 0, rows: int = 10, **changes: object) -> None:
    """Store a segment of rows that the model answers with their mean, some of them wrongly."""
    digest = digest or project.registry.resolve("flights@live").digest
    features = {f"in.{name}": np.arange(rows) * float(scale) for scale, name in enumerate("abc")}
    mean = np.mean([*features.values()], axis=0) + (np.arange(rows) < wrong)
    table = columns(rows, **{**features, "in.x": None, "out.0": mean, **changes})
    path = segments.save(Path(project.config.folder) / "device", table)
    save_segment(
        project.config.state,
        path.read_bytes(),
        name="flights",
        device=device,
        segment=f"{digest[7:19]}/{time.time_ns():020}-1-0.arrow",
        releases=[digest],
        day_bytes=1 << 20,
        at=datetime.now(UTC),
    )


def found(project: Project) -> dict[str, tuple[int, int]]:
    return {one.device: (one.differing, one.rows) for one in compare_devices(project).devices}


def test_rows_that_a_device_answered_otherwise_are_counted(project: Project) -> None:
    for device, wrong in (("pump-1", 0), ("pump-2", 3)):
        ship(project, device, wrong=wrong)
    ship(project, "pump-1", status=np.array([1] * 10, np.int8))
    ship(project, "pump-3", **{"out.1": np.zeros(10)})
    assert found(project) == {"pump-1": (0, 10), "pump-2": (3, 10), "pump-3": (10, 10)}


def test_rows_that_cannot_be_compared_are_left_out(project: Project) -> None:
    ship(project, "pump-1", digest=OTHER)
    ship(project, "pump-2", **{"in.a": None})
    ship(project, "pump-3", rows=0, key=[])
    assert found(project) == {"pump-1": (0, 0), "pump-2": (0, 0), "pump-3": (0, 0)}
    assert "No row that a device shipped could be compared" in describe_disagreement(compare_devices(project))


def test_only_a_sample_of_the_rows_is_answered_here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    answered: list[int] = []

    def count(probabilities: np.ndarray) -> np.ndarray:
        answered.append(len(probabilities))
        return probabilities

    monkeypatch.setattr(devices, "calibration_function", lambda _: count)
    for rows, wrong in ((1_000, 500), (100, 0)):
        ship(project, "pump-1", rows=rows, wrong=wrong)
    differing, n_rows = found(project)["pump-1"]
    assert (n_rows, answered) == (200, [200, 100])
    assert 60 < differing < 120, "500 of 1,100 rows differ"


def test_the_share_has_an_interval_over_devices(project: Project) -> None:
    for number in range(25):
        ship(project, f"pump-{number}")
    share = compare_devices(project).share
    assert (share.value, share.low, share.n_groups, share.n_rows) == (0.0, 0.0, 25, 250)
    assert 0.1 < share.high < 0.15
    ship(project, "pump-1", wrong=10)
    share = compare_devices(project).share
    assert 0.0 <= share.low < share.value == 10 / 260 < share.high
    text = describe_disagreement(compare_devices(project))
    assert text.startswith("10 of 260 sampled rows differ from what the same release answers here; 25 devices, 95 %")


def test_few_devices_have_counts_without_an_interval(project: Project) -> None:
    ship(project, "pump-1")
    text = describe_disagreement(compare_devices(project))
    assert text.startswith(
        "0 of 10 sampled rows differ from what the same release answers here; 1 device, so no interval"
    )
    ship(project, "pump-2", wrong=3)
    assert "3 of 20 sampled rows differ" in (text := describe_disagreement(compare_devices(project)))
    assert "2 devices, so no interval" in text
