"""Page of the devices of a model: what each serves, how far it is behind, and how often it answers otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace
from tests.dashboard.people import running_dashboard
from tests.monitoring import rollouts

from headway.core.evidence import Measurement
from headway.core.fleet import (
    DeviceComparison,
    DeviceReport,
    DeviceStatus,
    FleetComparison,
    FleetPointer,
    FleetRelease,
)
from headway.registry import device_logs

PATH = "/models/flights/fleet"
RELEASE, STAGED = (FleetRelease(digest=f"sha256:{digit * 64}", sizes={}, evidence="", policy="") for digit in "12")
UNSIGNED = {"at": "2026-11-29T09:00:00+00:00", "timestamp_key": "", "key_expires": ""}
POINTER = FleetPointer(name="flights", pointer="live", number=4, who="ann", why="faster", release=RELEASE, **UNSIGNED)


def published(project, *, devices: int = 4) -> None:
    """Save a fleet that is staged, with the reports of devices: the second is late, the third behind and refusing."""
    project.save(replace(POINTER, staged=STAGED, share=0.25, salt="s"))
    for number in range(devices):
        name = f"pump-{number}"
        report = DeviceReport(
            device=name,
            name="flights",
            pointer="live",
            release=RELEASE.digest,
            number=3 if number == 2 else 4,
            timestamp=1,
            reason="expired" if number == 2 else "",
            message="",
            at="",
            headway="0.1.0",
            waiting=7 * int(number == 1),
        )
        at = datetime.now(UTC) - timedelta(hours=number == 1)
        status = DeviceStatus(
            name="flights", device=name, rows=12_000, errors=3 * int(number == 2), refused=int(number == 3)
        )
        (project.config.state / "devices/flights").mkdir(parents=True, exist_ok=True)
        device_logs._save(project.config.state, replace(status, report=report, reported_at=at.isoformat()))
    device_logs._save(project.config.state, DeviceStatus(name="flights", device="pump-9"))


def compared(project) -> None:
    share = Measurement(
        name="fleet.disagreement", value=0.01, low=0.0, high=0.02, method="", n_rows=600, n_groups=30, se=0.005, dof=29
    )
    devices = tuple(DeviceComparison(device=f"pump-{number}", rows=200, differing=2 * number) for number in range(2))
    project.save(FleetComparison(name="flights", at="2026-11-29T09:30:00+00:00", devices=devices, share=share))


def words(folder, *acts) -> str:
    project = rollouts.project(folder)
    for act in acts:
        act(project)
    with running_dashboard(folder) as served:
        page = served.visitor("viewer").get(PATH)
    project.state.close()
    assert page.status == 200
    assert "style=" not in page.text
    return page.words


def test_without_a_fleet_the_page_says_how_to_publish_one(tmp_path):
    assert "headway fleet publish FOLDER" in words(tmp_path)


def test_without_reports_the_page_says_how_devices_report(tmp_path):
    found = words(tmp_path, lambda project: project.save(POINTER))
    assert "All devices serve release" in found
    assert "No device has reported" in found


def test_the_page_shows_versions_lag_errors_and_disagreement(tmp_path):
    found = words(tmp_path, published, compared)
    for text in (
        "Pointer 4 was published by ann",
        "A share of 25% of the devices serves the staged release",
        "! 60 min",
        "! 3, 1 behind",
        "✗ refused: expired",
        "3 errors",
        "7 segments wait",
        "✗ 1 not accepted",
        "✓ 0 of 200 rows",
        "✗ 2 of 200 rows",
        "not compared",
        "? never",
        "2 of 600 sampled rows differ",
        "30 devices, 95 % interval 0.0 to 2.0 of 100 rows",
    ):
        assert text in found, text


def test_without_a_comparison_the_page_says_how_to_make_one(tmp_path):
    assert "were not compared yet: headway fleet status" in words(tmp_path, published)
