"""The models of bench/serve.py and bench/soak.py, their rows, and a project that serves them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import lightgbm
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cache import HERE, folder, home, made
from headway.core import config
from headway.core.arrays import Floats
from headway.core.feature_view import FeatureView
from headway.core.plugins import load_engine
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.data.contract.discovery import observed_contract
from headway.engines.compiled.forest import compile_forest
from headway.engines.lightgbm import Lightgbm
from headway.optimization.forest_onnx import forest_to_onnx
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys
from headway.serving.auth.keys import create_key
from serving.load import Case
from tiny import is_tiny

TREES, LEAVES, FEATURES = 200, 31, 25
WIDE, CLASSES, ROUNDS_OF_CLASSES = 400, 77, 10
MLP_SIZES = (64, 2048, 2048, 2048, 2048, 2048, 2)
CASES, APART, MOST_PER_S = 32, 3e-3, 1e6

TINY = {"TREES": 5, "MLP_SIZES": (64, 64, 2), "ROUNDS_OF_CLASSES": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model in one form: its engine, its bytes, and the numbers of features and of classes."""

    engine: str
    format: str
    content: bytes
    width: int = FEATURES
    classes: int = 2

    def answers(self, rows: Floats) -> Floats:
        """Predict rows [n, width]: [n, 1] for two classes, else [n, classes]."""
        return load_engine(self.engine)(self.content, {}).predict(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Rows [CASES * rows_each, width], `rows_each` per request, and their correct outputs [n, k]."""

    rows: Floats
    answers: Floats
    rows_each: int

    def cases(self, ask: Iterable[bytes], *, columns: int) -> list[Case]:
        """Return cases of these requests, whose answers are the last columns of their rows."""
        outputs = [tuple(np.ravel(part).tolist()) for part in _parts(self.answers[:, -columns:], self.rows_each)]
        return [Case(request=request, answers=(wanted,)) for request, wanted in zip(ask, outputs, strict=True)]

    def parts(self) -> list[Floats]:
        """Return the rows of each request."""
        return _parts(self.rows, self.rows_each)


def _parts(rows: Floats, size: int) -> list[Floats]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def rows_of(n: int, width: int = FEATURES) -> Floats:
    """Return rows float64 [n, width] of standard normal numbers, the same at every call."""
    return np.random.default_rng(1).normal(size=(n, width))


@cache
def trained(trees: int = TREES, width: int = FEATURES, classes: int = 2) -> bytes:
    """Train LightGBM with that many trees a class of 31 leaves and a fixed seed; return its model file."""
    rows = rows_of(20_000, width)
    noise = np.random.default_rng(2).normal(size=len(rows))
    scores = rows[:, :5].sum(axis=1) + np.sin(3 * rows[:, 5]) + noise
    settings = {"objective": "binary", "num_leaves": LEAVES, "verbose": -1, "num_threads": 1, "seed": 1}
    if classes > 2:
        settings |= {"objective": "multiclass", "num_class": classes}
        labels = np.searchsorted(np.quantile(scores, np.arange(1, classes) / classes), scores).astype(float)
    else:
        labels = (scores > 0).astype(float)
    model = lightgbm.train(settings, lightgbm.Dataset(rows, labels), num_boost_round=trees)
    return Lightgbm.import_model(model).content


def by_trees(trees: int = TREES) -> Model:
    """Return the trees as headway releases them: for its own kernels."""
    return Model(engine="trees", format="forest", content=compile_forest(Lightgbm.forest(trained(trees))))


def larger(name: str) -> tuple[Model, bytes]:
    """Return trees of 400 columns (`wide`) or 77 classes (`multiclass`) for our kernels, and as an ONNX graph."""
    width, classes = (WIDE, 2) if name == "wide" else (FEATURES, CLASSES)
    forest = Lightgbm.forest(trained(TREES if name == "wide" else ROUNDS_OF_CLASSES, width, classes))
    content = compile_forest(forest)
    return Model(engine="trees", format="forest", content=content, width=width, classes=classes), forest_to_onnx(forest)


def by_graph() -> Model:
    """Return the trees as headway compiles them for ONNX Runtime: in float64, exact."""
    return Model(engine="onnxruntime", format="onnx", content=forest_to_onnx(Lightgbm.forest(trained())))


def by_converter() -> Model:
    """Return the trees as onnxmltools converts them, in float32; raises Absent if its environment cannot be created."""
    if is_tiny():
        return by_graph()
    source = HERE / "peers/convert.py"
    directory = made(folder("serve-trees", of=[trained().decode(), source.read_text("utf-8")]), _convert)
    return Model(engine="onnxruntime", format="onnx", content=(directory / "model.onnx").read_bytes())


def _convert(directory: Path) -> None:
    (directory / "model.txt").write_bytes(trained())
    command = [home("trees"), "-c", "import convert; convert.main()", directory / "model.txt", directory / "model.onnx"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(HERE / "peers")})


@cache
def mlp() -> Model:
    """Return dense layers with fixed random weights in float32, 67 MB, with the probabilities of two classes."""
    draw, nodes, weights, at = np.random.default_rng(3), [], [], "rows"
    for layer, (inner, outer) in enumerate(pairwise(MLP_SIZES)):
        weight = draw.normal(scale=np.sqrt(2 / inner), size=(inner, outer)).astype(np.float32)
        bias = np.zeros(outer, dtype=np.float32)
        weights += [numpy_helper.from_array(weight, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [at, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        at = f"a{layer}"
        last = layer == len(MLP_SIZES) - 2
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{layer}"], ["scores" if last else at]))
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("rows", MLP_SIZES[0]), ("scores", MLP_SIZES[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ports[:1], ports[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Model(engine="onnxruntime", format="onnx", content=proto.SerializeToString(), width=MLP_SIZES[0])


def question(model: Model, rows_each: int) -> Question:
    """Return rows with outputs so different that no answer can be mistaken for another."""
    rows = np.round(rows_of(8_000, model.width), 6)
    outputs = model.answers(rows)
    found = outputs[:, -1]
    order = np.argsort(found)
    apart = [order[0]]
    for index in order[1:]:
        if found[index] - found[apart[-1]] > APART:
            apart.append(index)
    firsts = np.random.default_rng(4).permutation(apart)[:CASES]
    indices = [index for first in firsts for index in (first, *range(8_000 - rows_each + 1, 8_000))]
    answers = outputs[indices] if model.classes > 2 else np.stack([1 - found[indices], found[indices]], axis=1)
    return Question(rows=rows[indices], answers=answers, rows_each=rows_each)


def v2(rows: Floats, datatype: str) -> bytes:
    """Return a body of the Open Inference Protocol: the rows as one matrix."""
    data = rows.ravel().tolist()
    inputs = [{"name": "rows", "shape": list(rows.shape), "datatype": datatype, "data": data}]
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def posted(path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """Return a complete HTTP request."""
    more = "".join(f"{header}\r\n" for header in ("Content-Type: application/json", *headers))
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def project(directory: Path, models: Mapping[str, Model]) -> ModelRegistry:
    """Create a project in which each model is signed and live under its name."""
    (directory / "headway.toml").write_text('[project]\nname = "bench"\n[trust]\npublisher_key = "publisher.pem"\n')
    at = config.load(directory, environment={})
    init_keys(at.path("publisher.pem"), at.path(at[TrustSection].trusted_keys), comment="benchmark")
    register = ModelRegistry.from_config(at)
    for name, model in models.items():
        point(register, name, publish(register, name, model))
    return register


def new_caller(directory: Path) -> str:
    """Create a key of a project's server, with a limit that no load reaches."""
    return create_key(directory / "keys.toml", "bench", ["predict"], per_s=MOST_PER_S)


def publish(register: ModelRegistry, name: str, model: Model, *, views: Sequence[FeatureView] = ()) -> str:
    """Sign and publish a release of a model, which may read feature views; return its digest."""
    artifact = Artifact(format=model.format, digest=digest_of(model.content), size_bytes=len(model.content))
    fields = tuple(Field(name=f"x{number}") for number in range(model.width))
    classes = tuple(f"c{number}" for number in range(model.classes)) if model.classes > 2 else ()
    signature, task = Signature(inputs=fields, classes=classes), "multiclass" if classes else "binary"
    variant = Variant(artifact=artifact, engine=model.engine, signature=signature, task=task)
    sample = rows_of(20, model.width)
    answers = model.answers(sample)
    test = SelfTest(rows=tuple(map(tuple, sample.tolist())), answers=tuple(map(tuple, answers.tolist())))
    release = Release(
        name=name,
        variant=variant,
        evidence=(),
        verdict=_passed(variant.digest),
        self_test=test,
        views=tuple(views),
        contract=observed_contract(rows_of(8_000, model.width), variant.signature, margin=0.1),
    )
    return register.publish(release, {f"model.{model.format}": model.content})


def point(register: ModelRegistry, name: str, digest: str) -> None:
    """Make a release live by a signed update."""
    register.point(f"{name}@live", digest, UpdateReason(who="benchmark", why="to be measured", verdict=_passed(digest)))


def _passed(subject: str) -> Verdict:
    return Verdict(answer="pass", subject=subject, by="benchmark", why="to be measured")
