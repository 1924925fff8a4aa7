"""A small network as C: one row has the scores of the dense kernel to the bit, or is rejected as there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.deployment.edge.packages import Library, bits, compiled, made_release
from tests.engines.test_dense_engine import program, step, windowed
from tests.optimization.lowering.random_networks import Shape, random_network, rows_for

from headway.core.errors import ConfigError, EngineError
from headway.deployment.edge import package_files
from headway.engines.compiled.artifact import OPERATIONS
from headway.engines.dense import Dense
from headway.optimization.lowering.lower import lower_graph

pytestmark = pytest.mark.slow

SHAPES = {
    "a linear model": Shape(looked=0, numbers=7, layers=(), outputs=1),
    "few outputs": Shape(looked=0, numbers=75, layers=(3,), between="Relu", outputs=2),
    "tables, and many outputs": Shape(looked=2, numbers=3, layers=(40, 9), between="Elu", outputs=5, norm=True),
    "more inputs than a block": Shape(looked=0, numbers=9, layers=(130, 70), between="Tanh", outputs=3),
    "gelu": Shape(looked=1, numbers=4, layers=(17,), between="Gelu", outputs=1),
}
ODD = [
    0.0,
    -0.0,
    1e-45,
    1e-39,
    0.5,
    1.5,
    2.5,
    -0.5,
    8388607.5,
    8388609.0,
    88.8,
    89.5,
    -103.9,
    -105.0,
    3e38,
    1e39,
    -1e300,
]
ODD += [float("nan"), float("inf"), float("-inf"), 1.0, 2.0, -1.0]
UNARY = ("abs", "floor", "round", "is_nan", "sqrt", "log", "exp", "sigmoid", "tanh", "erf", "copy")
BINARY = ("add", "sub", "mul", "div", "min", "max", "less", "less_equal", "equal", "trunc")


def library_of(content: bytes, rows: np.ndarray, folder) -> tuple[Library, Dense]:
    """The library of a program, and the engine that it must equal."""
    engine = Dense(content, {"level": "portable"})
    answers = np.concatenate([engine.predict(row[None]) for row in rows])
    task = "regression" if answers.shape[1] == 1 else "multiclass"
    return compiled(made_release(content, rows, answers, engine="dense", task=task), folder), engine


def expect_equal(library: Library, engine: Dense, row: np.ndarray) -> None:
    """Compare the scores of a row to the bit, or that both reject it."""
    with np.errstate(all="ignore"):
        try:
            expected = bits(engine.predict(row[None])[0])
        except EngineError:
            assert library.scores(row) is None
        else:
            assert bits(library.scores(row)) == expected


@pytest.fixture(scope="module", params=SHAPES)
def pair(request, tmp_path_factory) -> tuple[Library, Dense]:
    """The library of a network and its engine."""
    shape = SHAPES[request.param]
    content = lower_graph(random_network(shape))
    return library_of(content, rows_for(shape, 8), tmp_path_factory.mktemp("edge"))


def test_rows_have_the_bits_of_the_kernel(pair, request):
    library, engine = pair
    for row in rows_for(SHAPES[request.node.callspec.params["pair"]], 200, seed=1):
        expect_equal(library, engine, row)
    assert library.function("self_test")() == 0


@given(data=st.data())
def test_odd_values_have_the_bits_of_the_kernel(pair, data):
    library, engine = pair
    width = len(library.release.variant.signature.inputs)
    value = st.one_of(st.sampled_from(ODD), st.floats(width=32), st.floats(), st.integers(-3, 9).map(float))
    expect_equal(library, engine, np.array(data.draw(st.lists(value, min_size=width, max_size=width))))


@pytest.fixture(scope="module")
def operations(tmp_path_factory) -> dict[str, tuple[Library, Dense]]:
    """A library and an engine of a program of each operation over a row of three numbers."""
    made = {name: program(step(name)) for name in UNARY}
    made |= {name: program(step(name, b=32, m=2 << 2), pool=(1.5,) * 64) for name in BINARY}
    made |= {
        "where": program(step("where", b=0, c=16, m=1 << 4)),
        "take": program(step("take", k=3), indices=np.array([2, 0, 1])),
        "lookup": program(step("lookup", k=1, m=4), pool=tuple(map(float, range(64)))),
        "softmax": program(step("softmax", m=3)),
        "sum": program(step("sum", n=1, m=3, k=2), step("copy", out=17, n=2)),
        "dense": program(step("dense", c=32, k=3), pool=tuple(i / 7 for i in range(64))),
    }
    folder = tmp_path_factory.mktemp("operations")
    return {name: library_of(content, np.ones((1, 3)), folder / name) for name, content in made.items()}


def test_each_operation_has_the_bits_of_the_kernel(operations):
    assert {*operations, "conv", "pool"} == set(OPERATIONS)
    rows = np.array(np.meshgrid(ODD[::2], ODD[1::2], [1.0, np.nan])).reshape(3, -1).T
    for library, engine in operations.values():
        for row in np.concatenate([rows, np.random.default_rng(0).normal(size=(200, 3)) * 30]):
            expect_equal(library, engine, row)


def test_a_row_that_does_not_fit_on_the_stack_of_a_device_is_refused():
    content = program(size=1 << 15)
    with pytest.raises(ConfigError, match="needs 32,768 numbers on the stack"):
        package_files(made_release(content, np.ones((1, 3)), np.ones((1, 3)), engine="dense"))


def test_a_network_with_convolutions_is_refused():
    with pytest.raises(ConfigError, match="has convolutions or pooling"):
        package_files(made_release(windowed(), np.ones((1, 3)), np.ones((1, 3)), engine="dense"))


def test_a_network_in_bfloat16_is_refused():
    given, rows = program(step("add")), np.ones((1, 3))
    variant = made_release(given, rows, rows, engine="dense").release.variant
    with pytest.raises(ConfigError, match="in bfloat16"):
        package_files(
            made_release(given, rows, rows, engine="dense", variant=replace(variant, settings={"precision": "bf16"}))
        )
