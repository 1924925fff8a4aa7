"""Machine load: what shows that other processes took the cores, and waiting until they leave them."""

from __future__ import annotations

import os

import pytest

from headway.evaluation.machine_load import Clocks, LoadMeter, all_work_ns, wait_until_quiet, waited_ns

BUSY, SPIN, IS_SHARED = (
    LoadMeter.busy,
    LoadMeter.spin,
    LoadMeter.is_shared,
)  # as they are before the tests declare every machine quiet


@pytest.fixture(autouse=True)
def real_meter(monkeypatch):
    monkeypatch.setattr(LoadMeter, "busy", BUSY)
    monkeypatch.setattr(LoadMeter, "spin", SPIN)
    monkeypatch.setattr(LoadMeter, "is_shared", IS_SHARED)


class FakeClocks:
    """Clocks of a thread that gets a share of a core, and whose waiting for it is reported or not."""

    def __init__(self, *, share=1.0, reported=True):
        self.cpu, self.share, self.reported = 0, share, reported

    def clocks(self):
        return Clocks(wall=self.wall, cpu=self.tick, waited=self.waited)

    def tick(self):
        self.cpu += 100_000
        return self.cpu

    def wall(self):
        return int(self.cpu / self.share)

    def waited(self):
        return self.wall() - self.cpu if self.reported else None


def spun(**settings):
    meter = LoadMeter(FakeClocks(**settings).clocks())
    meter.spin()
    return meter


def test_a_thread_that_always_has_a_core_is_on_a_quiet_machine():
    assert spun().busy() is None


def test_waiting_in_the_run_queue_shows_other_processes():
    busy = spun(share=0.6).busy()
    assert "waiting" in busy.what and busy.measured == pytest.approx(0.4, abs=0.02) and busy.limit == 0.1
    assert spun(share=0.95).busy() is None


def test_where_waiting_is_not_reported_wall_and_cpu_time_are_compared():
    busy = spun(share=0.6, reported=False).busy()
    assert "times its CPU time" in busy.what and busy.limit == 1.1
    assert spun(share=0.95, reported=False).busy() is None


def test_a_baseline_whose_own_call_varies_between_blocks_gives_no_time():
    assert "factor of 2.00" in spun().busy([100.0, 120.0, 200.0]).what
    assert spun().busy([100.0, 120.0, 140.0]) is None


def test_a_busy_machine_says_how_to_get_a_time():
    hint = spun(share=0.5).busy().hint
    assert "--wait-quiet" in hint and "wait_quiet=True" in hint and "cost.cpu_s.one_row.speedup" in hint


@pytest.mark.parametrize(("others", "is_shared"), [(0.0, False), (0.05, False), (0.2, True), (None, False)])
def test_a_machine_is_shared_if_others_use_more_than_a_tenth_of_all_cores(others, is_shared):
    now, cores = [0], os.cpu_count()
    own = lambda: now[0]  # noqa: E731 - this process works on one core all the time
    work = (lambda: None) if others is None else lambda: now[0] + int(now[0] * cores * others)
    meter = LoadMeter(Clocks(wall=lambda: now[0], own_work=own, all_work=work))
    now[0] = 1_000_000_000
    assert meter.is_shared() is is_shared


def test_the_work_of_all_processes_leaves_out_what_is_idle_or_waits(tmp_path):
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 5 30 9000 700 3 2 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n")
    assert all_work_ns(stat) == 140 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert all_work_ns(tmp_path / "absent") is None


def test_this_system_reports_waiting_or_says_that_it_does_not():
    waited = waited_ns()
    assert waited is None or waited >= 0


class Waiting:
    """A machine that becomes quiet after some probes; its clock runs while it is probed and while it is slept."""

    def __init__(self, busy_probes):
        self.busy_probes, self.seconds, self.lines = busy_probes, 0.0, []

    def run(self, timeout_s):
        return wait_until_quiet(
            timeout_s=timeout_s, callback=self.lines.append, meter=self.meter, now=self.now, sleep=self.sleep
        )

    def meter(self):
        self.busy_probes -= 1
        return LoadMeter(FakeClocks(share=0.5 if self.busy_probes >= 0 else 1.0).clocks())

    def now(self):
        self.seconds += 0.05
        return self.seconds

    def sleep(self, seconds):
        self.seconds += seconds


def test_waiting_ends_when_the_machine_is_quiet_and_reports_while_it_waits():
    waiting = Waiting(busy_probes=30)
    assert waiting.run(600)
    assert 30 < waiting.seconds < 60
    assert 3 <= len(waiting.lines) <= 6 and waiting.lines[0].startswith("waiting for a quiet machine: 0 s of at most")


def test_waiting_gives_up_after_the_time_allowed():
    waiting = Waiting(busy_probes=10_000)
    assert not waiting.run(20) and waiting.seconds < 30


def test_a_quiet_machine_is_not_waited_for():
    waiting = Waiting(busy_probes=0)
    assert waiting.run(600) and waiting.seconds < 2 and waiting.lines == []
