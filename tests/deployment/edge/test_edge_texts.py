"""Text models as C: a message has the scores of the text kernel to the bit, whatever its characters."""

from __future__ import annotations

import csv
import ctypes
import dataclasses
import io
import json
import random
import subprocess

import numpy as np
import pytest
from hypothesis import given
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.deployment.edge.packages import (
    FLAGS,
    Library,
    bits,
    compiled,
    made_release,
    stored,
    text_release,
    write_sources,
)
from tests.deployment.edge.test_edge_http import ask, served, tensor
from tests.engines.test_text_kernel import CORPUS, TEXT, features_program
from tests.engines.text_pipelines import EDGES, TEXTS, fitted
from tests.optimization.contexts import context_in
from tests.optimization.test_text_transform import ENCODERS, LABELS, ROWS, TABLE, table_variant

from headway.core.errors import ConfigError
from headway.core.release import SelfTest
from headway.core.variant import Field, Signature
from headway.deployment.edge import package_files, wasm_files
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.texts import text_program
from headway.engines.formats.text import (
    IN_POOL,
    OPERATIONS,
    REPEATED,
    TextProgram,
    step,
    write_text_program,
)
from headway.engines.text import Text
from headway.optimization.context import load_transform
from headway.registry.bundle import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
MAX_TEXT = 4096
VECTORIZERS = {
    "words": TfidfVectorizer(
        ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"\w+", stop_words=["card", "東京"], max_features=50
    ),
    "cased": CountVectorizer(ngram_range=(2, 2), lowercase=False, token_pattern=r"\S+", binary=True, max_features=20),
    "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 4), norm="l1", max_features=90),
    "padded": CountVectorizer(analyzer="char_wb", ngram_range=(1, 7), lowercase=False, max_features=90),
    "hashed words": HashingVectorizer(n_features=61, ngram_range=(1, 2), token_pattern=r"\w+"),
    "hashed characters": HashingVectorizer(n_features=64, analyzer="char_wb", ngram_range=(1, 3), norm="l1"),
}


def expect_equal(library: Library, model: TextModel, text: str) -> None:
    """Compare the scores of a message to the bit."""
    found, expected = library.scores(np.zeros(1), [text.encode()]), model.score([text])[0]
    assert found is not None and bits(found) == bits(expected), text


@pytest.fixture(scope="module", params=VECTORIZERS)
def pair(request, tmp_path_factory) -> tuple[Library, TextModel]:
    """The library of the features of a vectorizer, and the kernel."""
    content = features_program(VECTORIZERS[request.param].fit([*CORPUS, *EDGES]))
    bundle = text_release(content, [text.replace("\x00", "") for text in CORPUS[:2]], task="multiclass")
    return compiled(bundle, tmp_path_factory.mktemp("edge")), TextModel(content, {"level": "portable"})


@given(text=TEXT)
def test_features_have_the_bits_of_the_kernel(pair, text):
    expect_equal(*pair, text.replace("\x00", " "))


@pytest.mark.parametrize("pair", ["hashed words", "hashed characters"], indirect=True)
def test_every_character_is_lowered_and_classed_as_in_python(pair):
    characters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(characters), 650):
        block = characters[start : start + 650]
        for text in ("b".join(block), "A" + "Σ".join(block), *(block if start < 0x400 else ())):
            expect_equal(*pair, text)


def test_random_texts_of_letters_and_signs_have_the_bits_of_the_kernel(pair):
    source = random.Random(0)
    kinds = ["aBΣİ .'", "Σσ\u0345\u0301\u00ad\u180e ab", "éÉẞ\u212a\u2126 \u3000\t\x85", "😀\u200d\u0301_١ x"]
    kinds += [["card", "lost", "money", "東京"]]
    for _ in range(1000):
        pieces = [*source.choice(kinds), *source.choice(kinds), " "]
        expect_equal(*pair, "".join(source.choices(pieces, k=source.randrange(40))))


def test_long_texts_have_the_bits_of_the_kernel(pair):
    library, model = pair
    for unit in ("a", "a ", "İ", "é", "Σ", "Ⱥ", "\u3000x", " ab", "😀 "):
        text = (unit * MAX_TEXT).encode()[:MAX_TEXT].decode(errors="ignore")
        expect_equal(library, model, text)
        expect_equal(library, model, "".join(chr(0x61 + at % 26 + at // 26) for at in range(900)) + unit)


def test_texts_that_are_too_long_missing_or_no_utf8_have_a_status(pair):
    library, _ = pair
    for text, status in (
        (b"a" * MAX_TEXT, 0),
        (b"a" * (MAX_TEXT + 1), 2),
        (None, 1),
        *(
            (text, 1)
            for text in (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\x80")
        ),
    ):
        scores, texts = (ctypes.c_double * library.outputs)(), (ctypes.c_char_p * 1)(text)
        for function, more in (("scores", ()), ("predict", (None,))):
            assert library.function(function)((ctypes.c_double * 1)(), texts, scores, *more) == status


def test_the_self_test_passes_and_inputs_are_named_as_texts(pair):
    library, _ = pair
    assert library.function("self_test")() == 0
    assert [library.function("text")(index) for index in (-1, 0, 1)] == [-1, 0, -1]


def pipeline(name: str, **changed: object) -> tuple[Bundle, TextModel]:
    """A release of a fitted pipeline, and its kernel."""
    content = text_program(fitted(name), columns=None, width=1, texts=[0])
    return text_release(content, TEXTS[:8], **changed), TextModel(content, {"level": "portable"})


@pytest.mark.parametrize(
    "name",
    [
        "logistic regression, two classes",
        "isotonic calibration",
        "latent semantic analysis",
        "multinomial naive Bayes",
        "union",
    ],
)
def test_pipelines_have_the_bits_of_the_kernel(name, tmp_path):
    bundle, model = pipeline(name)
    library = compiled(bundle, tmp_path)
    assert library.function("self_test")() == 0
    for text in [*TEXTS, *EDGES]:
        expect_equal(library, model, text.replace("\x00", " "))


def test_texts_next_to_numbers_and_categories_have_the_bits_of_the_kernel(tmp_path):
    model = make_pipeline(ENCODERS["words, characters, numbers and categories"], LogisticRegression())
    context = dataclasses.replace(context_in(tmp_path), sample=ROWS)
    (variant,) = load_transform("text")(table_variant(model.fit(TABLE, LABELS), context), context)
    content, names = context.blobs.get(variant.artifact.digest), variant.signature.texts
    answers, rows = Text(content, {"level": "portable"}).predict(ROWS), ROWS.copy()
    rows[:, [variant.signature.names.index(name) for name in names]] = np.arange(len(rows))[:, None]
    test = SelfTest(
        rows=stored(rows[:8]), answers=stored(answers[:8]), texts={name: tuple(TABLE[name][:8]) for name in names}
    )
    bundle = made_release(
        content, rows, answers, engine="text", task="multiclass", signature=variant.signature, self_test=test
    )
    library = compiled(bundle, tmp_path / "edge")
    assert library.function("self_test")() == 0 and len(names) == 2
    for row, expected, *texts in zip(rows, answers, *(TABLE[name] for name in names), strict=True):
        assert bits(library.scores(row, [text.encode() for text in texts])) == bits(expected)


def operations_program() -> bytes:
    """A program that takes the number of a row through every operation, each to scores of its own; NaN becomes 7."""
    pool = np.array([0.75, -2.0, 0.0, 3.5, 1.25, 0.5, -1.0, 2.0, 1e9, 7.0])
    steps = [step("copy", out=2, n=9, operands=[(0, IN_POOL)]), step("copy", out=10, n=1, operands=[(1, 0)])]
    elementwise, at = OPERATIONS[: OPERATIONS.index("sum")], 40
    for name in OPERATIONS:
        operands = [(2, 0), (0, IN_POOL | REPEATED), (2, IN_POOL | REPEATED)]
        operands = operands[: 3 if name == "where" else 2 if name in elementwise[: elementwise.index("where")] else 1]
        sizes = {"n": 9}
        if name in ("sum", "dense", "lookup"):
            operands, sizes = [(10 if name == "lookup" else 2, 0), (1, 0)], {"n": 2, "k": 4}
        elif name not in elementwise:
            operands, sizes = [(2, 0)], {"n": 2 if name == "take" else 9, "k": 9}
        steps.append(step(name, out=at, operands=operands, **sizes))
        at += sizes["n"]
    n = at - 40
    steps.append(step("is_nan", out=at, n=n, operands=[(40, 0)]))
    steps.append(step("where", out=40, n=n, operands=[(at, 0), (9, IN_POOL | REPEATED), (40, 0)]))
    made = {"texts": (0,), "width": 2, "outputs": n, "output_offset": 40, "size": at + n, "sums": 0, "vectorizers": ()}
    indices = np.array([10, 2], np.int32)
    return write_text_program(TextProgram(**made, steps=np.array(steps, np.int32), pool=pool, indices=indices))


def test_each_operation_has_the_bits_of_the_kernel(tmp_path):
    content = operations_program()
    model, row = TextModel(content, {"level": "portable"}), np.array([[0.0, 0.5]])
    answers, message = model.score(["a"], rows=row), Field(name="message", datatype="BYTES", is_text=True)
    bundle = text_release(
        content,
        ["a"],
        task="multiclass",
        signature=Signature(inputs=(message, Field(name="number"))),
        self_test=SelfTest(rows=stored(row), answers=stored(answers), texts={"message": ("a",)}),
    )
    library = compiled(bundle, tmp_path)
    for value in [0.0, -0.0, 1.0, 2.0, 3.0, 4.0, -1.5, 0.3, -800.0, 710.0, 1e300, 1e-310, np.inf, -np.inf, np.nan]:
        row[0, 1] = value
        assert bits(library.scores(row[0], [b""])) == bits(model.score([""], rows=row)[0]), value


def test_the_object_needs_math_and_string_alone_and_has_no_variables(tmp_path):
    source = write_sources(pipeline("union")[0], tmp_path)
    subprocess.run(["cc", *FLAGS, "-c", source, "-o", tmp_path / "a.o"], check=True)
    symbols = subprocess.run(["nm", tmp_path / "a.o"], check=True, capture_output=True, text=True).stdout.split("\n")
    kinds = [line.split()[-2:] for line in symbols if line]
    allowed = {
        "exp",
        "log",
        "sqrt",
        "memchr",
        "memcmp",
        "memcpy",
        "memmove",
        "memset",
        "strcmp",
        "_GLOBAL_OFFSET_TABLE_",
    }
    assert {name for kind, name in kinds if kind == "U"} <= allowed | {"__stack_chk_fail"}
    assert not [name for kind, name in kinds if kind in "BbDC" and not name.startswith("class_names")]


def test_the_program_reads_texts_as_a_column_or_a_message_a_line(tmp_path):
    bundle, model = pipeline("logistic regression")
    folder = write_sources(bundle, tmp_path).parent
    subprocess.run(
        [
            "make",
            "-s",
            "-C",
            folder,
            "intents_cli",
            "CFLAGS=-O1 -Wall -Wextra -Wpedantic -Werror -fsanitize=address,undefined",
        ],
        check=True,
    )
    texts = ["card lost", 'a "quoted", Ünder 東京 word', "", "x" * (MAX_TEXT + 1)]
    expected = [*(f"{score:.17g}" for score in model.score([texts[1]])[0]), str(model.score([texts[1]])[0].argmax())]
    table = io.StringIO()
    csv.writer(table).writerows([["other", "message"], *(["1", text] for text in texts)])
    for content, options in ((table.getvalue(), []), ("\n".join(texts) + "\n", ["--lines"])):
        done = subprocess.run(
            [folder / "intents_cli", *options], input=content, capture_output=True, text=True, check=True
        )
        rows = list(csv.reader(io.StringIO(done.stdout)))[1:]
        assert len(rows) == 4 and rows[1] == expected
        assert [row[-1] for row in rows[2:]] == ["rejected", "too long"]
    done = subprocess.run([folder / "intents_cli", "--rows"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "unknown argument '--rows'" in done.stderr


def test_a_message_is_answered_over_http(tmp_path):
    bundle, model = pipeline("logistic regression")
    folder = write_sources(bundle, tmp_path).parent
    for port in served(folder, "intents_http"):
        path = "/v2/models/intents/infer"
        text = 'card "lost"\n東京 😀'
        status, body = ask(port, json.dumps({"inputs": [tensor("message", text, "BYTES")]}).encode(), path=path)
        assert status == 200 and body["outputs"][0]["data"] == model.score([text])[0].tolist()
        for value, datatype, message in (
            (None, "BYTES", "does not answer"),
            ("x" * (MAX_TEXT + 1), "BYTES", "longer than 4096 bytes"),
            (1.5, "FP64", "send a string with datatype BYTES"),
            (1.5, "BYTES", "is missing"),
        ):
            status, body = ask(port, json.dumps({"inputs": [tensor("message", value, datatype)]}).encode(), path=path)
            assert status == 400 and message in body["error"]


def test_what_a_package_of_texts_cannot_hold_is_refused_by_name():
    accents = features_program(TfidfVectorizer(strip_accents="ascii").fit(CORPUS))
    with pytest.raises(ConfigError, match="strips accents"):
        package_files(text_release(accents, ["a"], task="multiclass"))
    hashed = make_pipeline(HashingVectorizer(n_features=1 << 20), LogisticRegression()).fit(["a b", "c"], list("xy"))
    hashed[-1].coef_ = np.ones((5, 1 << 20))
    hashed[-1].intercept_, hashed[-1].classes_ = np.zeros(5), np.arange(5)
    large = text_release(text_program(hashed, columns=None, width=1, texts=[0]), ["a"], task="multiclass")
    with pytest.raises(ConfigError, match="as C it takes 110 MB or more") as refused:
        package_files(large)
    assert "n_features=" in refused.value.hint
    with pytest.raises(ConfigError, match="a WebAssembly package cannot hold texts"):
        wasm_files(pipeline("logistic regression")[0])
