"""Heavy work in another process, and the answers that are kept."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from headway.core.errors import DataError
from headway.core.late import LateModule
from headway.dashboard.workers import AnswerCache, WorkerProcess, WorkFailed


def fail(what: str) -> None:
    raise DataError(what)


@pytest.fixture
def workers():
    made = WorkerProcess(idle_s=60)
    yield made
    made.close()


@pytest.mark.slow
def test_work_runs_in_another_process_that_is_used_again(workers):
    first = workers.run(os.getpid)
    assert first != os.getpid()
    assert workers.run(os.getpid) == first


@pytest.mark.slow
def test_a_function_of_a_module_is_called_where_the_module_is_imported_and_that_is_not_here(
    workers, tmp_path, monkeypatch
):
    (tmp_path / "heavy_module.py").write_text("def double(number):\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert workers.run(LateModule("heavy_module").double, 2) == 4
    assert "heavy_module" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        workers.run(LateModule("headway.dashboard.work.none").function)


@pytest.mark.slow
def test_an_error_of_the_work_is_raised_here(workers):
    with pytest.raises(DataError, match="no such column"):
        workers.run(fail, "no such column")


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_the_next_work_runs(workers):
    with pytest.raises(WorkFailed):
        workers.run(os._exit, 1)
    assert workers.run(os.getpid) != os.getpid()


@pytest.mark.slow
def test_an_idle_process_ends():
    workers = WorkerProcess(idle_s=0.05)
    process = workers.run(os.getpid)
    deadline = time.monotonic() + 30
    while is_running(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers.close()


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_answer_that_was_read_longest_ago_is_dropped():
    cache, computed = AnswerCache(at_most=2), []

    def answer(key: str) -> str:
        return cache.get(key, lambda: computed.append(key) or key.upper())

    assert [answer(key) for key in "abacab"] == list("ABACAB")
    assert computed == ["a", "b", "c", "b"]


def test_an_answer_that_takes_long_is_there_for_the_next_who_asks():
    cache, goes_on = AnswerCache(), threading.Event()

    def compute() -> int:
        goes_on.wait(30)
        return 7

    assert cache.soon("key", compute, within_s=0.01) is None
    goes_on.set()
    assert cache.soon("key", compute, within_s=30) == 7
    assert cache.soon("key", lambda: 8) == 7


def test_the_answer_of_the_version_before_is_there_while_that_of_a_new_version_is_computed():
    cache, goes_on = AnswerCache(), threading.Event()

    def compute() -> int:
        goes_on.wait(30)
        return 2

    assert cache.newest("key", "new", compute, within_s=0.01) is None
    assert cache.newest("key", "old", lambda: 1, within_s=30) == 1
    assert cache.newest("key", "new", compute, within_s=0.01) == 1
    assert cache.newest("other", "new", compute, within_s=0.01) is None
    goes_on.set()
    assert cache.newest("key", "new", compute, within_s=30) == 2
    assert cache.newest("key", "new", lambda: 3, within_s=30) == 2


def test_a_forgotten_answer_is_computed_again():
    cache = AnswerCache()
    assert cache.get("key", lambda: 7) == 7
    cache.forget("key")
    assert cache.soon("key", lambda: 8, within_s=30) == 8


def test_what_was_erased_is_neither_kept_nor_saved_by_a_late_answer():
    cache, begun, goes_on = AnswerCache(), threading.Event(), threading.Event()

    def compute() -> str:
        begun.set()
        goes_on.wait(30)
        return "a row that is erased"

    cache.get("kept", lambda: "a row that is erased")
    assert cache.soon("late", compute, within_s=0.01) is None
    begun.wait(30)
    cache.drop()
    goes_on.set()
    assert cache.get("kept", lambda: "after") == "after"
    assert cache.soon("late", lambda: "after", within_s=30) == "after"


def test_an_error_of_a_late_answer_is_raised_once_and_then_it_is_computed_again():
    cache = AnswerCache()
    with pytest.raises(DataError, match="no such column"):
        cache.soon("key", lambda: fail("no such column"), within_s=30)
    assert cache.soon("key", lambda: 8, within_s=30) == 8
