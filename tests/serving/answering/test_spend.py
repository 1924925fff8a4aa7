"""The spend of the remote stage on a day: over all processes, and never above the cap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from headway.core.errors import StoreError
from headway.serving.answering.spend import DailySpend


def spend_in(folder, *, cost=0.01, cap=0.03, now=0.0):
    return DailySpend(folder, cost_per_call=cost, cap_per_day=cap, clock=lambda: now)


def test_calls_are_paid_up_to_the_cap_and_again_on_the_next_day(tmp_path):
    assert [spend_in(tmp_path).reserve() for _ in range(5)] == [True, True, True, False, False]
    assert spend_in(tmp_path).spent() == 0.03
    assert spend_in(tmp_path, now=86_400.0).spent() == 0.0
    assert spend_in(tmp_path, now=86_400.0).reserve()


def test_calls_with_a_cost_need_a_cap_and_others_do_not(tmp_path):
    assert not spend_in(tmp_path, cap=0.0).reserve()
    assert spend_in(tmp_path, cost=0.0, cap=0.0).reserve()


def test_a_damaged_file_allows_no_call(tmp_path):
    spend_in(tmp_path).reserve()
    (path,) = (tmp_path / "answers").iterdir()
    path.write_text("what")
    with pytest.raises(StoreError, match="the spend of the day cannot be kept"):
        spend_in(tmp_path).reserve()
    assert spend_in(tmp_path).spent() == 0.03


RESERVE = """
import sys
from pathlib import Path
from headway.serving.answering.spend import DailySpend
spend = DailySpend(Path(sys.argv[1]), cost_per_call=0.001, cap_per_day=0.5, clock=lambda: 0.0)
print("ready", flush=True)
while spend.reserve():
    print("paid", flush=True)
"""


@pytest.mark.slow
def test_processes_that_are_killed_never_spend_more_than_the_cap(tmp_path):
    paid = 0
    for round in range(4):
        processes = [
            subprocess.Popen([sys.executable, "-c", RESERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
            if round < 3:
                paid += process.stdout.readline() == "paid\n"
                os.kill(process.pid, signal.SIGKILL)
            paid += process.communicate(timeout=60)[0].count("paid\n")
    reserved = spend_in(tmp_path).spent()
    assert paid <= 500 and reserved == 0.5
