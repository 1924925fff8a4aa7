"""Engine `dense`: what it rejects, and that an altered program never ends the process."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.optimization.lowering.random_networks import Picture, Shape, picture_network, random_network, rows_for

from headway.core.errors import EngineError
from headway.engines import _dense
from headway.engines.compiled.artifact import LEVELS, OPERATIONS, Program, read_program, write_program
from headway.engines.dense import PRECISIONS, Dense
from headway.optimization.lowering.lower import lower_graph

pytestmark = pytest.mark.slow

HERE = LEVELS[: _dense.level() + 1]
SHAPE = Shape(looked=2, numbers=3, layers=(40, 9), between="Elu", outputs=5, norm=True)
CONTENT = lower_graph(random_network(SHAPE))
PICTURE = Picture(channels=9, outputs=12, size=(4, 5), pads=(1, 1, 1, 1), after=("Relu", "MaxPool", "AveragePool"))
IMAGES = lower_graph(picture_network(PICTURE))
WIDE = lower_graph(random_network(Shape(numbers=40, layers=(70, 33), outputs=3)))


def program(*steps: tuple[int, ...], pool=(1.0,) * 64, size: int = 64, output_offset: int = 16, **arrays) -> bytes:
    """A program of these steps over a row of three numbers."""
    made = {"width": 3, "outputs": 3, "indices": np.arange(3), "pool": np.array(pool), **arrays}
    return write_program(Program(size=size, output_offset=output_offset, steps=np.array(steps).reshape(-1, 8), **made))


def step(operation: str, out: int = 16, n: int = 3, a: int = 0, b: int = 0, c: int = 0, m: int = 0, k: int = 0):
    """The eight numbers of a step."""
    return (OPERATIONS.index(operation), out, n, a, b, c, m, k)


NAMES = "channels height width outputs groups kernel_h kernel_w stride_h stride_w dilation_h dilation_w top left"


def windowed(operation: str = "conv", *, n: int = 3, k: int = 0, **sizes: int) -> bytes:
    """A program of one convolution of 1 x 3 pixels with one weight, with these sizes."""
    names = [*NAMES.split(), "out_h", "out_w", "pooled"]
    window = {**dict.fromkeys(names, 1), "width": 3, "out_w": 3, "top": 0, "left": 0, "pooled": 0, **sizes}
    return program(step(operation, n=n, k=k), indices=np.array([window[name] for name in names]))


def test_a_handwritten_convolution_computes_each_pixel():
    assert Dense(windowed(), {}).predict(np.array([[1.0, -2.0, 3.0]])).tolist() == [[2.0, -1.0, 4.0]]


def test_a_handwritten_program_computes_its_steps():
    twice = program(step("add"), step("mul", a=16, b=0, m=1 << 2))
    assert Dense(twice, {}).predict(np.array([[1.0, -2.0, 1e300]])).tolist() == [[2.0, -4.0, np.inf]]


@pytest.mark.parametrize(
    "content",
    [
        program(step("add", out=-1)),
        program(step("add", out=60)),
        program(step("add", n=0)),
        program(step("add", n=2**31 - 1)),
        program(step("add", a=49)),
        program(step("add", m=3)),
        program(step("add", b=49, m=1 << 2)),
        program(step("where", c=49, m=2 << 4)),
        program(step("take", b=1)),
        program(step("take", k=2)),
        program(step("lookup", m=30, k=3)),
        program(step("lookup", m=-1, k=3)),
        program(step("lookup", m=1, k=17)),
        program(step("softmax", m=2)),
        program(step("softmax", m=0)),
        program(step("sum", m=22, k=1)),
        program(step("sum", m=2, k=0)),
        program(step("dense", k=22)),
        program(step("dense", k=3, c=62)),
        program(*[step("dense", k=3)] * 60),
        program((len(OPERATIONS), 0, 3, 0, 0, 0, 0, 0)),
        program((-1, 0, 3, 0, 0, 0, 0, 0)),
        windowed(k=1),
        windowed(n=5),
        windowed(channels=0),
        windowed(width=65),
        windowed(width=2**20, height=2**20),
        windowed(outputs=2),
        windowed(groups=2),
        windowed(kernel_h=65),
        windowed(kernel_h=2**20, kernel_w=2**20),
        windowed(stride_h=2**20, out_h=2**20),
        windowed(top=-1),
        windowed(out_w=2),
        windowed(pooled=-1),
        windowed("pool", outputs=2),
        program(size=63),
        program(size=2**21),
        program(output_offset=49),
        program(output_offset=-1),
        program(width=0),
        program(width=100),
        program(outputs=-1),
        program(outputs=2**40),
    ],
)
def test_a_step_outside_the_buffer_or_pool_is_refused_with_a_hint(content):
    with pytest.raises(EngineError, match="the program of the network is invalid") as refusal:
        Dense(content, {})
    assert refusal.value.hint


@settings(max_examples=400, deadline=None)
@given(data=st.data(), program=st.sampled_from([CONTENT, IMAGES, WIDE]))
def test_an_altered_program_is_rejected_or_harmless(data, program):
    content = bytearray(program)
    for _ in range(data.draw(st.integers(1, 3))):
        ends = st.one_of(st.integers(0, 2_000), st.integers(len(content) - 300, len(content) - 1))
        at = data.draw(st.one_of(ends, st.integers(0, len(content) - 1)))
        content[at] = data.draw(st.integers(0, 255))
    try:
        level, precision = data.draw(st.sampled_from(HERE)), data.draw(st.sampled_from(PRECISIONS))
        engine = Dense(bytes(content), {"level": level, "precision": precision})
        assert all(
            len(engine.predict(np.zeros((count, int(read_program(program)[0][0]))))) == count for count in (1, 8, 17)
        )
    except EngineError:
        pass


@pytest.mark.parametrize("settings", [{"level": "avx9"}, {"level": 3}, {"threads": 2}, {"precision": "int8"}])
def test_a_setting_that_it_does_not_have_is_refused(settings):
    with pytest.raises(EngineError):
        Dense(CONTENT, settings)


def test_rows_of_another_width_are_refused():
    with pytest.raises(EngineError, match=r"\(2, 4\)"):
        Dense(CONTENT, {}).predict(np.zeros((2, 4)))


def test_rows_in_column_major_memory_are_read_correctly():
    rows, engine = rows_for(SHAPE, 50), Dense(CONTENT, {})
    assert np.array_equal(engine.predict(np.asfortranarray(rows)), engine.predict(rows))


def test_a_buffer_that_does_not_fit_on_the_stack_works():
    shape = Shape(numbers=50, layers=(3000, 20))
    engine, rows = Dense(lower_graph(random_network(shape)), {}), rows_for(shape, 9)
    assert np.array_equal(np.concatenate([engine.predict(row[None]) for row in rows]), engine.predict(rows))


def test_an_artifact_keeps_its_arrays_without_a_copy():
    assert all(
        np.shares_memory(array, np.frombuffer(CONTENT, np.uint8)) for array in read_program(CONTENT) if array.size
    )
