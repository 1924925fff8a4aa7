"""The package of a release as C: names, categories, calibrator, threshold, decision, self-test, and what is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess

import numpy as np
import pytest
from tests.deployment.edge.packages import FLAGS, Library, compiled, forest_release, made_release, write_sources
from tests.engines.made_forests import Shape, made, rows_for
from tests.house.pages import code_blocks

from headway.core.calibrator import Calibrator
from headway.core.errors import ConfigError, EngineError
from headway.core.evidence import Measurement
from headway.core.feature_view import FeatureView
from headway.core.selective import AnswerPlan, SelectiveCertificate
from headway.core.variant import Field, Signature
from headway.deployment.edge import package_files
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import constant_tree
from headway.engines.trees import Trees
from headway.evaluation.calibration.apply import calibration_function

pytestmark = pytest.mark.slow

FOREST = made(Shape(trees=6, link="sigmoid"), seed=3)
ROWS = rows_for(FOREST, 60)
MIXED = dataclasses.replace(
    made(Shape(outputs=2, trees=0), seed=1), trees=(constant_tree([1.0], (0,)), constant_tree([1.0, 2.0], (0, 1)))
)
ZERO = Measurement(name="risk", value=0.0, low=0.0, high=0.0, method="m", n_rows=9)
PLAN = AnswerPlan(
    rule="probability",
    thresholds={"1": 0.9},
    certificate=SelectiveCertificate(coverage=ZERO, risk=ZERO, limit=0.1, threshold=0.9),
)
CALIBRATORS = {
    "none": Calibrator(),
    "shift": Calibrator(shift=0.7),
    "log-odds": Calibrator(kind="beta", up=1.2, down=0.8, shift=-0.3),
    "knots": Calibrator(kind="isotonic", knots=(0.2, 0.4, 0.4, 0.7), values=(0.1, 0.3, 0.5, 0.9)),
    "one knot": Calibrator(kind="isotonic", knots=(0.5,), values=(0.25,)),
    "steps": Calibrator(kind="steps", knots=(0.3, 0.6), values=(0.1, 0.2, 0.4, 0.5, 0.9)),
}


def test_scores_are_calibrated_and_decided_as_the_release_does(tmp_path):
    for name, calibrator in CALIBRATORS.items():
        bundle = forest_release(FOREST, ROWS, calibrator=calibrator, threshold=0.45)
        library = compiled(bundle, tmp_path / name.replace(" ", "_"))
        calibrated = calibration_function(calibrator)
        for row in ROWS:
            scores, decision = library.predict(row)
            expected = calibrated(library.scores(row)[None])
            assert scores == pytest.approx(expected[0], rel=1e-14), name
            assert decision == (expected[0, 0] >= 0.45)
        assert library.function("self_test")() == 0


def test_the_class_with_the_largest_score_is_decided(tmp_path):
    forest = made(Shape(outputs=3, link="softmax", trees=6), seed=1)
    signature = Signature(
        inputs=tuple(Field(name=f"c{i}") for i in range(5)), classes=("NAME_OK", 'mid"?\n', "*/ höch")
    )
    library = compiled(forest_release(forest, ROWS, signature=signature), tmp_path)
    for row in rows_for(forest, 40):
        scores, decision = library.predict(row)
        assert decision == scores.argmax()
    text = library.function("class")
    text.restype = ctypes.c_char_p
    assert [text(index) for index in range(-1, 4)] == [None, b"NAME_OK", b'mid"?\n', "*/ höch".encode(), None]


@pytest.fixture(scope="module")
def with_categories(tmp_path_factory) -> Library:
    """A model whose columns are categories with each treatment of unseen ones, and numbers that are refused."""
    inputs = (
        Field(name="a", datatype="BYTES", categories=("x", "y??/"), unseen="missing"),
        Field(name="A", datatype="BYTES", categories=("x",), unseen="other"),
        Field(name="int */", datatype="BYTES", categories=("x",), unseen="refused"),
        Field(name="d", refuses=("missing", "beyond float32")),
        Field(name="e", refuses=("infinite",)),
    )
    return compiled(forest_release(FOREST, ROWS, signature=Signature(inputs=inputs)), tmp_path_factory.mktemp("edge"))


def test_categories_are_numbered_as_the_release_reads_them(with_categories):
    assert [with_categories.category(0, text) for text in ("x", "y??/")] == [0, 1]
    assert np.isnan(with_categories.category(0, "z")) and with_categories.category(1, "z") == 1
    assert with_categories.category(2, "z") is None and with_categories.category(3, "x") is None
    assert [with_categories.function("is_category")(index) for index in (-1, 0, 1, 2, 3, 5)] == [0, 1, 1, 1, 0, 0]


def test_inputs_have_their_names_and_different_constants(with_categories):
    text = with_categories.function("input")
    text.restype = ctypes.c_char_p
    assert [text(index) for index in range(6)] == [b"a", b"A", b"int */", b"d", b"e", None]
    header = package_files(forest_release(FOREST, ROWS, signature=with_categories.release.variant.signature))
    assert b"FLIGHTS_INPUT_A = 0," in header["flights.h"] and b"FLIGHTS_INPUT_A_2 = 1," in header["flights.h"]
    assert b"FLIGHTS_INPUT_INT = 2, /* int * /;" in header["flights.h"]


@pytest.mark.parametrize(("index", "value"), [(3, np.nan), (3, 1e39), (3, -3.5e38), (4, np.inf), (4, -np.inf)])
def test_values_that_the_library_refuses_are_rejected(with_categories, index, value):
    row = np.zeros(5)
    assert with_categories.predict(row) is not None
    row[index] = value
    assert with_categories.predict(row) is None


def test_the_self_test_finds_a_changed_leaf(tmp_path):
    source = write_sources(forest_release(FOREST, ROWS), tmp_path)
    text = source.read_text().replace("sums[o] = base[o];", "sums[o] = base[o] + 1e-9;")
    source.write_text(text)
    subprocess.run(["cc", *FLAGS, "-shared", "-fPIC", source, "-o", tmp_path / "a.so", "-lm"], check=True)
    assert ctypes.CDLL(str(tmp_path / "a.so")).flights_self_test() == 1


@pytest.mark.parametrize(("categories", "flags"), [(5, ()), (0, ("-march=native",))])
def test_the_object_needs_math_and_string_alone_and_has_no_variables(categories, flags, tmp_path):
    source = write_sources(forest_release(made(Shape(categories=categories, link="softmax"), 1), ROWS), tmp_path)
    subprocess.run(["cc", *FLAGS, *flags, "-c", source, "-o", tmp_path / "a.o"], check=True)
    symbols = subprocess.run(["nm", tmp_path / "a.o"], check=True, capture_output=True, text=True).stdout.split("\n")
    kinds = [line.split()[-2:] for line in symbols if line]
    assert {name for kind, name in kinds if kind == "U"} <= {"exp", "floor", "trunc", "memcmp", "strcmp", "memset"}
    assert not [name for kind, name in kinds if kind in "BbDC" and not name.startswith("class_names")]


def test_the_files_name_the_release_and_the_key():
    bundle = forest_release(FOREST, ROWS, name="flight delays-2*/")
    files = package_files(bundle)
    assert {"flight_delays_2.c", "flight_delays_2.h"} <= set(files)
    for content in (content for file, content in files.items() if file not in ("Makefile", "verify.c")):
        assert bundle.digest.encode() in content and b"-ffp-contract=off" in content
    assert f'#define FLIGHT_DELAYS_2_RELEASE "{bundle.digest}"'.encode() in files["flight_delays_2.h"]


def test_the_header_names_the_feature_view_of_an_input():
    view = FeatureView(name="weather", version=2, columns=("column 1",))
    header = package_files(forest_release(FOREST, ROWS, views=(view,)))["flights.h"].decode()
    assert "column 1; computed by feature view weather@v2 */" in header and header.count("feature view") == 1


def test_what_a_package_cannot_hold_is_refused_by_name():
    refused = {
        "engine 'onnxruntime'": made_release(b"graph", ROWS, ROWS[:, :1], engine="onnxruntime"),
        "a multilabel model": forest_release(FOREST, ROWS, task="multilabel"),
        "the text column 'message'": forest_release(
            FOREST, ROWS, signature=Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),))
        ),
        "hands some rows on": forest_release(FOREST, ROWS, answers=PLAN),
        "this model: its trees add": forest_release(MIXED, ROWS, task="multiclass"),
    }
    for what, bundle in refused.items():
        with pytest.raises(ConfigError, match=what) as error:
            package_files(bundle)
        assert error.value.hint


def test_a_release_whose_answers_the_kernel_does_not_give_is_refused():
    with pytest.raises(EngineError, match="not those that the release recorded"):
        package_files(made_release(compile_forest(FOREST), ROWS[:8], np.full((8, 1), 0.5)))


def test_the_program_of_the_docs_prints_score_and_decision(tmp_path):
    source = write_sources(forest_release(FOREST, ROWS, name="flight-delays"), tmp_path)
    (tmp_path / "main.c").write_text("\n".join(code_blocks("docs/how-to/edge.md", "c")))
    program = tmp_path / "program"
    subprocess.run(["cc", *FLAGS, tmp_path / "main.c", source, "-o", program, "-lm"], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    score = Trees(compile_forest(FOREST), {"level": "portable"}).predict(np.zeros((1, 5)))[0, 0]
    assert float(printed[0]) == score and int(printed[1]) == (score >= 0.5)
