"""Test every installed engine: equal rows get equal answers in any number; errors have a reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import table, text
from tests.engines.catboosters import cbm
from tests.engines.encoders import encoder_before_a_model
from tests.engines.estimators import numbers
from tests.engines.graphs import DOUBLE, softmax
from tests.engines.made_forests import Shape, made
from tests.engines.text_pipelines import TEXTS, fitted
from tests.engines.xgboosters import ubj
from tests.optimization.lowering import random_networks

from headway.core import plugins
from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.texts import text_codes
from headway.engines.compiled.forest import compile_forest
from headway.engines.estimators.texts import text_program
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.lowering.lower import lower_graph

pytestmark = pytest.mark.slow

# These are tested in environments of their own (tests/engines/test_torch_engine.py): they are larger than all the rest.
APART = {"encoder": "tokenizers", "openvino": "openvino", "torch": "torch"}
ENGINES = [name for name in plugins.names("engine") if name not in APART or importlib.util.find_spec(APART[name])]
# A model of each engine and how many columns it reads; an engine that joins adds its own.
MODELS: dict[str, tuple[Callable[[], bytes], int]] = {
    "cache": (lambda: inside({"rows": 20.0}, 1), 3),
    "cascade": (lambda: inside({"low": 0.4, "high": 0.6}, 2), 3),
    "catboost": (lambda: cbm("MultiClass"), 4),
    "coarse": (lambda: inside({"decimals": 2.0, "threshold": 0.5}, 1), 3),
    "columns": (lambda: selected([2, -1, 0], [None, 0.5, None]), 4),
    "dense": (
        lambda: lower_graph(random_networks.random_network(random_networks.Shape(looked=0, numbers=4, outputs=3))),
        4,
    ),
    "echo": (lambda: b"echo", 4),
    "encoder": (encoder_before_a_model, 1),
    "lightgbm": (lambda: text("multiclass").encode(), 4),
    "onnxruntime": (lambda: softmax(3, DOUBLE), 3),
    "openvino": (lambda: plugins.load_engine("openvino").converted(softmax(3, DOUBLE)), 3),
    "sklearn": (numbers, 4),
    "text": (lambda: text_program(fitted("union"), columns=None, width=1, texts=[0]), 1),
    "trees": (lambda: compile_forest(made(Shape(width=4, outputs=3), seed=0)), 4),
    "torch": (lambda: softmax(3, DOUBLE), 3),
    "xgboost": (lambda: ubj("multi:softprob"), 4),
}


def inside(numbers: dict[str, float], models: int) -> bytes:
    """Return an artifact of so many models, each a compiled forest."""
    contents = [compile_forest(made(Shape(width=3, link="sigmoid"), seed=seed)) for seed in range(models)]
    inner = tuple(NestedModel(engine="trees", size_bytes=len(item)) for item in contents)
    return pack_models(NestedHeader(models=inner, numbers=numbers), *contents)


def selected(columns: list[int], constants: list[float | None]) -> bytes:
    """Return an artifact of a compiled forest whose inputs are these columns of a row, or constants."""
    content = compile_forest(made(Shape(width=3, link="sigmoid"), seed=0))
    inner = NestedModel(engine="trees", size_bytes=len(content))
    header = NestedHeader(models=(inner,), columns=tuple(columns), constants=tuple(constants))
    return pack_models(header, content)


def opened(name: str) -> Engine:
    return plugins.load_engine(name)(MODELS[name][0](), {})


def rows_of(name: str, count: int = 50) -> np.ndarray:
    if name in ("encoder", "text"):
        return np.array([text_codes.keep(TEXTS * (count // len(TEXTS) + 1))[:count]]).T
    return np.ascontiguousarray(table(count)[:, : MODELS[name][1]])


@pytest.mark.parametrize("name", ENGINES)
def test_it_names_the_formats_it_opens(name):
    formats = plugins.load_engine(name).formats
    assert formats and all(isinstance(item, str) and item for item in formats)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_it_answers_as_many_rows_as_it_is_given(name, count):
    answers = opened(name).predict(rows_of(name, count))
    assert answers.shape == (count, opened(name).predict(rows_of(name, 1)).shape[1]) and answers.dtype == np.float64


@pytest.mark.parametrize("name", ENGINES)
def test_a_single_row_is_answered_as_in_a_batch(name):
    engine, rows = opened(name), rows_of(name)
    alone = np.concatenate([engine.predict(rows[index : index + 1]) for index in range(len(rows))])
    assert np.allclose(engine.predict(rows), alone, rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ENGINES)
def test_equal_rows_get_equal_answers_at_any_position_and_time(name):
    engine, rows = opened(name), rows_of(name)
    turned = engine.predict(np.ascontiguousarray(np.vstack([rows, rows])[::-1]))[::-1]
    assert np.array_equal(turned[:50], turned[50:], equal_nan=True)
    assert np.allclose(turned[:50], engine.predict(rows), rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ENGINES)
def test_two_engines_opened_from_the_same_bytes_give_equal_answers(name):
    assert np.array_equal(opened(name).predict(rows_of(name)), opened(name).predict(rows_of(name)), equal_nan=True)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_that_call_it_at_once_get_each_their_own_answers(name):
    engine, rows = opened(name), rows_of(name, 4000)
    parts = [rows[start : start + 97] for start in range(0, len(rows), 97)]
    with ThreadPoolExecutor(4) as pool:
        answers = np.concatenate(list(pool.map(engine.predict, parts)))
    assert np.allclose(answers, engine.predict(rows), rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ENGINES)
def test_it_leaves_the_rows_as_they_were(name):
    rows = rows_of(name)
    before = rows.copy()
    opened(name).predict(rows)
    assert np.array_equal(rows, before, equal_nan=True)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("model", [None, 1.5, "a model", [1, 2], object()])
def test_it_imports_no_model_of_another_library(name, model):
    with pytest.raises(NotApplicable):
        plugins.load_engine(name).import_model(model)


@pytest.mark.parametrize("name", ENGINES)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_bytes_that_are_not_a_model_are_refused_with_a_hint_and_no_output(name, content, capfd):
    with pytest.raises(EngineError) as refusal:
        plugins.load_engine(name)(content, {})
    assert refusal.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ENGINES)
def test_half_a_model_is_refused(name):
    content = MODELS[name][0]()
    with pytest.raises(EngineError):
        plugins.load_engine(name)(content[: len(content) // 2], {})
