"""A release as WebAssembly, in a real browser: the bits of the kernel, and a self-test that guards the load."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, expect
from tests.browser import open_browser
from tests.deployment.edge.packages import bits, forest_release, made_release
from tests.deployment.edge.test_edge_forests import ODD, SHAPES, forest_of
from tests.deployment.edge.test_edge_networks import SHAPES as NETWORKS
from tests.deployment.edge.wasm_pages import opened, predicted
from tests.engines.made_forests import Shape, made, rows_for
from tests.house.pages import code_blocks
from tests.optimization.lowering import random_networks

from headway.core.errors import EngineError
from headway.core.variant import Field, Signature
from headway.deployment.edge.wasm import find_compilers, wasm_files
from headway.engines.compiled.forest import compile_forest
from headway.engines.dense import Dense
from headway.engines.trees import Trees
from headway.optimization.lowering.lower import lower_graph
from headway.registry.bundle import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.services]

FOREST = made(Shape(trees=60, link="sigmoid"), seed=3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


def written(bundle: Bundle, folder: Path, **compiler: tuple[str, ...]) -> Path:
    """Write the files of the package into a folder."""
    for name, content in wasm_files(bundle, **compiler).items():
        (folder / name).write_bytes(content)
    return folder


def expected_of(engine: Trees | Dense, rows: np.ndarray) -> np.ndarray:
    """Scores of the kernel, one row at a time; NaN for a row that it rejects."""
    outputs = engine.predict(np.zeros((1, rows.shape[1]))).shape[1]
    found = np.full((len(rows), outputs), np.nan)
    for index, row in enumerate(rows):
        try:
            found[index] = engine.predict(row[None])[0]
        except EngineError:
            continue
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_forest_has_the_bits_of_the_kernel(browser, tmp_path, shape):
    forest = forest_of(shape)
    random = np.random.default_rng(0)
    rows = np.concatenate([rows_for(forest, 500), random.choice(ODD, (500, forest.width))])
    task = "regression" if forest.outputs == 1 else "multiclass"
    written(forest_release(forest, rows_for(forest, 8), task=task), tmp_path)
    scores, decisions = predicted(browser, tmp_path, "flights", rows, outputs=forest.outputs)
    expected = expected_of(Trees(compile_forest(forest), {"level": "portable"}), rows)
    finite = np.isfinite(expected).all(axis=1)
    assert finite.sum() > 100 and bits(scores[finite]) == bits(expected[finite])
    assert np.isnan(scores[~finite]).all() and (decisions[~finite] == -1).all()
    assert (decisions[finite] == (expected[finite].argmax(axis=1) if task == "multiclass" else 0)).all()


def test_links_have_the_bits_of_the_kernel_for_small_and_large_sums(browser, tmp_path):
    for link in ("sigmoid", "exp", "isolation", "signed square"):
        folder = tmp_path / link
        folder.mkdir()
        forest = dataclasses.replace(
            FOREST, link=link, trees=tuple(dataclasses.replace(t, leaf=t.leaf * 8) for t in FOREST.trees)
        )
        rows = rows_for(forest, 3_000)
        written(forest_release(forest, rows[:8], task="regression"), folder)
        scores, _ = predicted(browser, folder, "flights", rows)
        assert bits(scores) == bits(Trees(compile_forest(forest), {"level": "portable"}).predict(rows)), link


@pytest.mark.parametrize("shape", NETWORKS)
def test_a_network_has_the_bits_of_the_kernel(browser, tmp_path, shape):
    graph = random_networks.random_network(NETWORKS[shape])
    rows = random_networks.rows_for(NETWORKS[shape], 300, seed=1)
    engine = Dense(lower_graph(graph), {"level": "portable"})
    expected = expected_of(engine, rows)
    outputs = expected.shape[1]
    task = "regression" if outputs == 1 else "multiclass"
    written(made_release(lower_graph(graph), rows[:8], expected[:8], engine="dense", task=task), tmp_path)
    scores, _ = predicted(browser, tmp_path, "flights", rows, outputs=outputs)
    assert bits(scores) == bits(expected)


def test_every_compiler_of_this_machine_builds_it(browser, tmp_path):
    rows = rows_for(FOREST, 200)
    compilers = find_compilers()
    assert compilers
    for number, compiler in enumerate(compilers):
        folder = tmp_path / str(number)
        folder.mkdir()
        written(forest_release(FOREST, rows[:8]), folder, compiler=compiler)
        scores, decisions = predicted(browser, folder, "flights", rows)
        expected = Trees(compile_forest(FOREST), {"level": "portable"}).predict(rows)
        assert bits(scores) == bits(expected) and decisions.tolist() == (expected[:, 0] >= 0.5).astype(int).tolist()


def test_a_page_reads_categories_and_classes_by_their_names(browser, tmp_path):
    inputs = (
        Field(name="__proto__", datatype="BYTES", categories=("x", "</script>"), unseen="missing"),
        Field(name="@rows@", datatype="BYTES", categories=("x",), unseen="other"),
        Field(name="größe", datatype="BYTES", categories=("x",), unseen="refused"),
        *(Field(name=name) for name in "de"),
    )
    signature = Signature(inputs=inputs, classes=("no", 'y"es'))
    written(forest_release(FOREST, rows_for(FOREST, 8), signature=signature), tmp_path)
    assert b"</script" not in (tmp_path / "flights.js").read_bytes()
    with opened(browser, tmp_path) as page:
        found = page.evaluate(
            """async module => {
              const model = await (await import(module)).load()
              const of = (...texts) => texts.map(([input, text]) => `${model.category(input, text)}`)
              return [model.inputs, model.classes, of(["__proto__", "</script>"], ["__proto__", "y"], ["@rows@", "y"],
                ["größe", "x"], ["größe", "y"])] }""",
            page.url.replace("page.html", "flights.js"),
        )
    assert found[0] == [field.name for field in inputs] and found[1] == ["no", 'y"es']
    assert found[2] == ["1", "NaN", "1", "0", "undefined"]


def test_a_module_with_a_changed_leaf_is_not_loaded(browser, tmp_path):
    rows = rows_for(FOREST, 8)
    written(forest_release(FOREST, rows), tmp_path)
    content = changed = (tmp_path / "flights.wasm").read_bytes()
    for tree in FOREST.trees:
        for value in tree.leaf.ravel():
            changed = changed.replace(value.tobytes(), np.float64(value + 1e-3).tobytes())
    assert changed != content
    (tmp_path / "flights.wasm").write_bytes(changed)
    with pytest.raises(Error, match="the self-test of the release fails at row 1"):
        predicted(browser, tmp_path, "flights", rows)


def test_rows_of_another_width_are_refused(browser, tmp_path):
    written(forest_release(FOREST, rows_for(FOREST, 8)), tmp_path)
    with opened(browser, tmp_path) as page, pytest.raises(Error, match="5 numbers for each row"):
        page.evaluate(
            "async module => (await (await import(module)).load()).predict(new Float64Array(6))",
            page.url.replace("page.html", "flights.js"),
        )


def test_a_compiler_that_fails_is_named(tmp_path):
    with pytest.raises(EngineError, match="false failed") as error:
        wasm_files(forest_release(FOREST, rows_for(FOREST, 8)), compiler=("false",))
    assert "wasi-libc" in error.value.hint


def test_the_page_of_the_docs_shows_score_and_class(browser, tmp_path):
    signature = Signature(inputs=tuple(Field(name=name) for name in "abcde"), classes=("on time", "late"))
    written(forest_release(FOREST, rows_for(FOREST, 8), name="flight-delays", signature=signature), tmp_path)
    (tmp_path / "index.html").write_text("\n".join(code_blocks("docs/how-to/edge.md", "html")))
    score = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.zeros((1, 5)))[0, 0]
    with opened(browser, tmp_path) as page:
        page.goto(page.url.replace("page.html", "index.html"))
        expect(page.locator("#answer")).to_have_text(f"{score} {'late' if score >= 0.5 else 'on time'}")
