"""This process as the place where tasks run: one after the other, when their results are asked for."""

from __future__ import annotations

from headway.core.workers import HERE, here


def test_a_task_runs_when_its_result_is_asked_for():
    begun = []
    results = HERE.map(lambda shared, task: (begun.append(task), shared * task)[1], 3, iter([1, 2]))
    assert begun == []
    assert next(results) == (0, 3) and begun == [1]
    assert list(results) == [(1, 6)] and begun == [1, 2]


def test_no_task_starts_after_the_caller_says_stop():
    with here() as workers:
        left = iter([True, True, False])
        results = workers.map(lambda _, task: task, None, "abc", proceed=lambda: next(left), alone=True)
        assert list(results) == [(0, "a"), (1, "b")]
