"""The spend of the remote stage on a day: over all processes and machines, and never above the cap."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from chat_server import chat_server

from headway.core.errors import LeaseHeld, StoreError
from headway.core.plugins import load_state
from headway.core.record import kind_of, write
from headway.core.selective import RemoteSpend
from headway.evaluation.settings.answer import AnswerSection, RemoteStage
from headway.serving.answering import spend as spending
from headway.serving.answering.endpoint import open_stages
from headway.serving.answering.remote import NoRemoteAnswer, RemoteInput
from headway.serving.answering.spend import DailySpend, SharedSpend
from headway.serving.telemetry.metrics import Metrics


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


def paid_by_processes(program, address):
    """Return how many costs pairs of processes reserve, of which all but the last pair are killed."""
    paid = 0
    for turn in range(4):
        processes = [
            subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
            if turn < 3:
                paid += process.stdout.readline() == "paid\n"
                os.kill(process.pid, signal.SIGKILL)
            paid += process.communicate(timeout=60)[0].count("paid\n")
    return paid


@pytest.mark.slow
def test_processes_that_are_killed_never_spend_more_than_the_cap(tmp_path):
    assert paid_by_processes(RESERVE, str(tmp_path)) <= 500
    assert spend_in(tmp_path).spent() == 0.5


def shared_in(state, *, cost=0.01, cap=0.03, now=0.0):
    return SharedSpend(state, name="shop", cost_per_call=cost, cap_per_day=cap, clock=lambda: now)


@pytest.fixture
def state(tmp_path):
    opened = load_state("sqlite")(tmp_path)
    yield opened
    opened.close()


def test_machines_that_share_a_state_have_one_cap(state):
    machines = [shared_in(state), shared_in(state)]
    assert [machines[turn % 2].reserve() for turn in range(5)] == [True, True, True, False, False]
    assert [machine.spent() for machine in machines] == [0.03, 0.03]
    tomorrow = shared_in(state, now=86_400.0)
    assert tomorrow.spent() == 0.0 and tomorrow.reserve() and tomorrow.spent() == 0.01
    assert shared_in(state, cost=0.0, cap=0.0).reserve() and not shared_in(state, cap=0.0).reserve()


def test_a_reservation_whose_number_another_one_has_makes_no_call_and_counts(state):
    shared_in(state).reserve()
    other = RemoteSpend(name="shop", day="1970-01-01", number=1, units=10_000, by="another")
    state.save(kind_of(RemoteSpend), write(other), name="shop/1970-01-01")
    machine = shared_in(state)
    assert [machine.reserve(), machine.reserve()] == [True, False]
    assert machine.spent() == 0.03


def test_a_lost_lease_is_found_after_the_record_was_saved(state):
    class Slow:
        def __getattr__(self, name):
            return getattr(state, name)

        def save(self, kind, content, *, name):
            state.save(kind, content.replace(b'"by":"', b'"by":"x'), name=name)
            return state.save(kind, content, name=name)

    assert not shared_in(Slow()).reserve()
    machine = shared_in(state)
    assert [machine.reserve(), machine.reserve()] == [True, False]


def test_a_reservation_waits_for_another_one_and_not_for_ever(state, monkeypatch):
    monkeypatch.setattr(spending, "WAIT_S", 0.05)
    with state.lease("spend of shop"), pytest.raises(LeaseHeld):
        shared_in(state).reserve()
    assert shared_in(state).reserve()


def test_servers_that_share_a_state_ask_under_one_cap(state, tmp_path):
    with chat_server() as chat:
        chat.says("refund")
        remote = RemoteStage(url=chat.url, model="small", deadline_s=20.0, cost_per_call=0.1, spend_cap_per_day=0.1)
        servers = [
            open_stages(AnswerSection(remote=remote), tmp_path / part, Metrics(), shared=state, name="shop")
            for part in ("a", "b")
        ]
        first, second = (server._remote for server in servers)
        assert asyncio.run(first.ask(RemoteInput("my money", {}, ""), ("delivery", "refund"))).class_name == "refund"
        with pytest.raises(NoRemoteAnswer, match="spend_cap"):
            asyncio.run(second.ask(RemoteInput("my money", {}, ""), ("delivery", "refund")))
        assert chat.requests.qsize() == 1


RESERVE_SHARED = RESERVE.replace(
    "DailySpend(Path(sys.argv[1]),", 'SharedSpend(load_state("postgresql")(sys.argv[1]), name="shop",'
)
RESERVE_SHARED = (
    RESERVE_SHARED.replace("DailySpend", "SharedSpend")
    .replace("0.5", "0.1")
    .replace("import sys", "import sys\nfrom headway.core.plugins import load_state")
)


@pytest.mark.slow
@pytest.mark.services
def test_machines_that_are_killed_never_spend_more_than_their_cap_in_postgresql(postgresql):
    assert paid_by_processes(RESERVE_SHARED, postgresql) <= 100
    opened = load_state("postgresql")(postgresql)
    machine = shared_in(opened, cost=0.001, cap=0.1)
    assert not machine.reserve() and machine.spent() == 0.1
    opened.close()
