"""Work that is shared names its inputs, is computed again for a sample, and takes no key along."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.batch.packed_workers import PackedWorkers, use
from tests.batch.ray_tasks import Repeated, repeat

from headway.batch.compute import CheckedWorkers, Packed, open_workers, run_packed
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.core.errors import ConfigError, Refused
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.workers import HERE
from headway.registry.sign import create_publisher

RAY = Config(ComputeSection(ray="auto"))


def test_results_are_those_of_this_process():
    tasks = [1.0, math.nan, -0.0]
    there = dict(CheckedWorkers(PackedWorkers()).map(repeat, "x", iter(tasks)))
    here = dict(HERE.map(repeat, "x", tasks))
    assert list(there) == [0, 1, 2] and repr(there) == repr(here)


def next_number(result):
    """Change the last bit of a number."""
    return replace(result, number=math.nextafter(result.number, 9.0))


def test_work_that_is_never_the_same_twice_ends_with_the_first_result():
    workers = PackedWorkers(next_number)
    with pytest.raises(Refused, match="differs from that of the same task on this machine") as raised:
        next(CheckedWorkers(workers).map(repeat, "x", [1.0, 2.0]))
    assert "deterministic = true" in raised.value.hint and len(workers.sent) == 1


def test_a_later_result_that_differs_in_one_bit_is_refused_before_any_is_handed_out():
    workers = PackedWorkers(lambda result: next_number(result) if result.number == 2.0 else result)
    with pytest.raises(Refused, match="differs from that of the same task on this machine"):
        next(CheckedWorkers(workers).map(repeat, "x", [1.0, 2.0]))


def test_what_does_not_take_part_in_a_comparison_may_differ():
    def later(result):
        return replace(result, seconds=9.0)

    assert [found.seconds for _, found in CheckedWorkers(PackedWorkers(later)).map(repeat, "x", [1.0])] == [9.0]


def test_times_are_handed_out_at_once_and_not_measured_again():
    workers = PackedWorkers(next_number)
    results = CheckedWorkers(workers).map(repeat, "x", [1.0, 2.0], alone=True)
    assert next(results)[1].number == math.nextafter(1.0, 9.0) and len(workers.sent) == 1
    assert len(list(results)) == 1 and workers.alone == [True]


def test_no_task_starts_after_the_caller_says_stop():
    left = iter([True, False])
    results = CheckedWorkers(PackedWorkers()).map(repeat, "x", [1.0, 2.0], proceed=lambda: next(left))
    assert [number for number, _ in results] == [0]


def test_the_result_of_other_inputs_is_refused():
    class Swapped(PackedWorkers):
        def map(self, *arguments, **options):
            (_, first), (_, second) = super().map(*arguments, **options)
            yield from ((0, second), (1, first))

    with pytest.raises(Refused, match="the result of another task"):
        list(CheckedWorkers(Swapped()).map(repeat, "x", [1.0, 2.0], alone=True))


def test_a_worker_refuses_bytes_that_were_changed_and_another_version():
    shared, task = Packed.of((repeat, "x")), Packed.of(1.0)
    assert run_packed(shared, task).result.open() == Repeated(text="x", number=1.0)
    with pytest.raises(Refused, match="changed on its way"):
        run_packed(shared, replace(task, content=Packed.of(2.0).content))
    with pytest.raises(Refused, match=r"was sent work of headway 0\.0\.0"):
        run_packed(replace(shared, version="0.0.0", digest="sha256:1"), task)


def test_the_settings_of_a_project_and_keys_are_not_packed(tmp_path):
    with pytest.raises(Refused, match="settings of a project stay on this machine"):
        Packed.of({"settings": RAY})
    with pytest.raises(TypeError, match="pickle"):
        Packed.of([create_publisher(tmp_path / "publisher.pem")])


def test_work_stays_in_this_process_without_ray_and_so_do_times_on_a_ray_of_our_own(monkeypatch):
    use(monkeypatch, PackedWorkers())
    for settings, alone in ((Config(), False), (Config(), True)):
        with open_workers(settings, alone=alone) as workers:
            assert workers is HERE
    for alone in (False, True):
        with open_workers(RAY, alone=alone) as workers:
            assert isinstance(workers, CheckedWorkers)
    monkeypatch.delenv("RAY_ADDRESS")
    with open_workers(RAY, alone=True) as workers:
        assert workers is HERE
    monkeypatch.undo()
    with (
        pytest.raises(ConfigError, match="not an address of Ray"),
        open_workers(Config(ComputeSection(ray="10.0.0.1"))),
    ):
        pass


def test_a_record_has_the_same_digest_in_a_worker():
    variant = Variant(
        artifact=Artifact(format="echo", digest="sha256:0", size_bytes=4),
        engine="echo",
        signature=Signature(inputs=(Field(name="a"), Field(name="b", unseen="other"))),
    )
    assert Packed.of([variant]).open() == [variant] and Packed.of([variant]).open()[0].digest == variant.digest
