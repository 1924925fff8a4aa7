"""Energy of a million rows, by counters in a folder that stands for the system's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headway.core.errors import NotApplicable
from headway.evaluation import benchmark, energy
from headway.evaluation.energy import EnergyMeter
from headway.evaluation.metrics.cost import plugin

STAT = "cpu  {} 0 50 9000 7 3 2 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n"


def write_zone(root: Path, zone: str, name: str, *, uj: int = 0, max_uj: int = 10**9) -> Path:
    """Write the files of a zone as powercap shows them, and return that of its counter."""
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("max_energy_range_uj", max_uj), ("energy_uj", uj)):
        (folder / file).write_text(f"{value}\n")
    return folder / "energy_uj"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The root of a system without a counter, whose rounds are short."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(STAT.format(100))
    monkeypatch.setattr(energy, "ROOT", tmp_path)
    monkeypatch.setattr(benchmark, "ENERGY_ROUND_NS", 1_000_000)
    return tmp_path


class Heats:
    """Uses 500 microjoules a call in each package, and lets other processes work for some ticks."""

    formats = ("heats",)

    def __init__(self, *counters: Path, stat: Path | None = None) -> None:
        self.counters, self.stat, self.ticks = counters, stat, 100

    def predict(self, rows):
        for counter in self.counters:
            last = int((counter.parent / "max_energy_range_uj").read_text())
            counter.write_text(f"{(int(counter.read_text()) + 500) % last}\n")
        if self.stat:
            self.ticks += 10
            self.stat.write_text(STAT.format(self.ticks))
        return rows[:, :1]


def measured(subject, model):
    return plugin(replace(subject, model=model))


def energies(found):
    return {seen.name: seen for seen in found if getattr(seen, "name", "").startswith("cost.energy_j")}


def test_the_energy_of_all_packages_is_given_per_million_rows(root, make_subject):
    first, second = (write_zone(root, f"intel-rapl:{at}", f"package-{at}") for at in (0, 1))
    found = energies(measured(make_subject(count=20), Heats(first, second)))
    one, batch = found["cost.energy_j.one_row"], found["cost.energy_j.batch"]
    assert one.value == pytest.approx(1000) and batch.value == pytest.approx(1000 / benchmark.BATCH_ROWS)
    assert (one.unit, one.n_groups, one.low, one.high) == ("J", 20, *[pytest.approx(1000)] * 2) and one.n_rows >= 20


def test_a_counter_that_begins_again_at_0_loses_nothing(root, make_subject):
    counter = write_zone(root, "intel-rapl:0", "package-0", uj=199_000_000 - 700, max_uj=199_000_000)
    assert energies(measured(make_subject(count=20), Heats(counter)))["cost.energy_j.one_row"].high == pytest.approx(
        500
    )
    assert int(counter.read_text()) < 199_000_000 - 700


def test_parts_of_a_package_and_the_whole_platform_are_not_counted_twice(root):
    write_zone(root, "intel-rapl:0", "package-0-die-1", uj=7)
    write_zone(root, "intel-rapl:0:0", "core", uj=7)
    write_zone(root, "intel-rapl:1", "psys", uj=7)
    write_zone(root, "intel-rapl-mmio:0", "package-0", uj=7)
    (root / "sys/class/powercap/intel-rapl:2").mkdir()
    meter = EnergyMeter()
    assert [counter.file.parent.name for counter in meter.counters] == ["intel-rapl:0"] and meter.read() == [7]


def test_other_processes_that_work_leave_no_energy_and_the_reason(root, make_subject):
    counter = write_zone(root, "intel-rapl:0", "package-0")
    found = measured(make_subject(count=20), Heats(counter, stat=root / "proc/stat"))
    assert not energies(found)
    (reason,) = (one for one in found if isinstance(one, NotApplicable) and "energy" in one.what)
    assert "other processes worked" in reason.what and "--wait-quiet" in reason.hint


def test_a_machine_without_counters_measures_the_other_costs_alone(root, make_subject):
    found = measured(make_subject(count=20), Heats())
    assert not energies(found) and "cost.cpu_s.batch" in [getattr(one, "name", "") for one in found]
    assert not [one for one in found if isinstance(one, NotApplicable) and "energy" in one.what]


def test_why_energy_cannot_be_measured_is_named(root):
    with pytest.raises(NotApplicable, match="no energy counter of a processor"):
        EnergyMeter()
    counter = write_zone(root, "intel-rapl:0", "package-0")
    counter.unlink()
    counter.mkdir()  # no file can be refused to root, who may run this test
    with pytest.raises(NotApplicable, match="cannot be read") as refused:
        EnergyMeter()
    assert "sudo chmod a+r" in refused.value.hint and str(counter) in refused.value.what
    counter.rmdir()
    counter.write_text("many\n")
    with pytest.raises(NotApplicable, match="holds no number"):
        EnergyMeter()
    counter.write_text("5\n")
    (root / "proc/stat").write_text("cpu 1\n")
    with pytest.raises(NotApplicable, match="how much other processes work"):
        EnergyMeter()
