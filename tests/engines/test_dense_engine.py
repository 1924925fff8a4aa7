"""Engine `dense`: what it refuses, and that a tape that was tampered with never ends the process."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.optimization.lowering.random_networks import Shape, random_network, rows_for

from headway.core.errors import EngineError
from headway.engines import _dense
from headway.engines.compiled.artifact import LEVELS
from headway.engines.compiled.program import OPERATIONS, Program, read_program, write_program
from headway.engines.dense import Dense
from headway.optimization.lowering.lower import lower_graph

pytestmark = pytest.mark.slow

HERE = LEVELS[: _dense.level() + 1]
SHAPE = Shape(looked=2, numbers=3, layers=(40, 9), between="Elu", outputs=5, norm=True)
CONTENT = lower_graph(random_network(SHAPE))


def tape(*steps: tuple[int, ...], pool=(1.0,) * 64, size: int = 64, answer: int = 16, **given) -> bytes:
    """A tape of these steps over a row of three numbers."""
    made = {"width": 3, "outputs": 3, "places": np.arange(3), "pool": np.array(pool), **given}
    return write_program(Program(size=size, answer=answer, steps=np.array(steps).reshape(-1, 8), **made))


def step(operation: str, out: int = 16, n: int = 3, a: int = 0, b: int = 0, c: int = 0, m: int = 0, k: int = 0):
    """The eight numbers of a step."""
    return (OPERATIONS.index(operation), out, n, a, b, c, m, k)


def test_a_tape_by_hand_answers_what_its_steps_mean():
    twice = tape(step("add"), step("mul", a=16, b=0, m=1 << 2))
    assert Dense(twice, {}).predict(np.array([[1.0, -2.0, 1e300]])).tolist() == [[2.0, -4.0, np.inf]]


@pytest.mark.parametrize(
    "content",
    [
        tape(step("add", out=-1)),
        tape(step("add", out=60)),
        tape(step("add", n=0)),
        tape(step("add", n=2**31 - 1)),
        tape(step("add", a=49)),
        tape(step("add", m=3)),
        tape(step("add", b=49, m=1 << 2)),
        tape(step("where", c=49, m=2 << 4)),
        tape(step("take", b=1)),
        tape(step("take", k=2)),
        tape(step("look_up", m=30, k=3)),
        tape(step("look_up", m=-1, k=3)),
        tape(step("look_up", m=1, k=17)),
        tape(step("softmax", m=2)),
        tape(step("softmax", m=0)),
        tape(step("sum", m=22, k=1)),
        tape(step("sum", m=2, k=0)),
        tape(step("dense", k=22)),
        tape(step("dense", k=3, c=62)),
        tape(*[step("dense", k=3)] * 60),
        tape((len(OPERATIONS), 0, 3, 0, 0, 0, 0, 0)),
        tape((-1, 0, 3, 0, 0, 0, 0, 0)),
        tape(size=63),
        tape(size=2**21),
        tape(answer=49),
        tape(answer=-1),
        tape(width=0),
        tape(width=100),
        tape(outputs=-1),
        tape(outputs=2**40),
    ],
)
def test_a_step_beside_its_file_or_pool_is_refused_with_the_mend(content):
    with pytest.raises(EngineError, match="the tape of the network is not sound") as refusal:
        Dense(content, {})
    assert refusal.value.hint


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_tape_that_was_tampered_with_is_refused_or_answers_and_never_ends_the_process(data):
    content = bytearray(CONTENT)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 2_000), st.integers(0, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    try:
        engine = Dense(bytes(content), {"level": data.draw(st.sampled_from(HERE))})
        assert all(len(engine.predict(np.zeros((count, SHAPE.width)))) == count for count in (1, 8))
    except EngineError:
        pass


@pytest.mark.parametrize("settings", [{"level": "avx9"}, {"level": 3}, {"threads": 2}])
def test_a_setting_that_it_does_not_have_is_refused(settings):
    with pytest.raises(EngineError):
        Dense(CONTENT, settings)


def test_rows_of_another_width_are_refused():
    with pytest.raises(EngineError, match=r"\(2, 4\)"):
        Dense(CONTENT, {}).predict(np.zeros((2, 4)))


def test_rows_that_lie_crosswise_in_memory_are_read_as_what_they_are():
    rows, engine = rows_for(SHAPE, 50), Dense(CONTENT, {})
    assert np.array_equal(engine.predict(np.asfortranarray(rows)), engine.predict(rows))


def test_a_file_that_does_not_fit_on_the_stack_is_answered_all_the_same():
    shape = Shape(numbers=50, layers=(3000, 20))
    engine, rows = Dense(lower_graph(random_network(shape)), {}), rows_for(shape, 9)
    assert np.array_equal(np.concatenate([engine.predict(row[None]) for row in rows]), engine.predict(rows))


def test_an_artifact_keeps_its_arrays_without_a_copy():
    assert all(
        np.shares_memory(array, np.frombuffer(CONTENT, np.uint8)) for array in read_program(CONTENT) if array.size
    )
