"""Parsers of untrusted input: changed bytes of real files are read, or refused by an error of headway's own.

Servers, their protocols and the scanner have fuzz tests of their own: tests/serving/test_fuzz.py,
tests/serving/protocol, tests/scanning.
"""

from __future__ import annotations

import functools
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import text
from tests.engines.catboosters import cbm
from tests.engines.graphs import DOUBLE, softmax
from tests.engines.made_forests import Shape, made
from tests.engines.text_pipelines import fitted
from tests.engines.xgboosters import ubj
from tests.optimization.lowering import random_networks
from tests.registry.releases import release

from headway.core import config, record
from headway.core.errors import HeadwayError
from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.plugins import load_engine
from headway.core.release import PointerUpdate, Release
from headway.dashboard.access.users import read_users
from headway.dashboard.app import parse_form
from headway.data.contract.schema_import import import_schema
from headway.data.contract.table_contract import load_contract
from headway.data.dvc import read_stages
from headway.data.read import read_file
from headway.data.settings.data import DataSection
from headway.engines.compiled.forest import compile_forest
from headway.engines.estimators.texts import text_program
from headway.engines.formats.catboost import read_catboost
from headway.engines.formats.encoder import EncoderHeader, pack_encoder, split_encoder
from headway.engines.formats.external_data import external_files
from headway.engines.formats.lightgbm import read_lightgbm
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models, split_models
from headway.engines.formats.xgboost import read_xgboost
from headway.evaluation.text_corruptions import read_paraphrases
from headway.features.definitions import read_views
from headway.monitoring.labeling.agreement import read_annotations
from headway.monitoring.prediction_log import read_label_file
from headway.monitoring.servers import parse_metrics
from headway.optimization.importers.huggingface import read_config
from headway.optimization.importers.mlflow import find_model
from headway.optimization.lowering.lower import lower_graph
from headway.registry.sign import load_trusted, signer_of
from headway.serving.auth.keys import read_keys
from headway.storage import segments
from headway.support.mail import read_mail
from headway.support.replies import read_replies
from headway.support.webhook import read_webhook, sign_body

pytestmark = pytest.mark.long

DEMO = Path(config.__file__).parents[1] / "cli/demo"
TABLE = pl.DataFrame({"key": ["a", "b"], "label": [0, 1], "who": ["ann", "bob"]})
CONTRACT = b"""
relations = ["a <= c"]
[columns.a]
type = "number"
minimum = 0
maximum = 1.5
[columns.b]
type = "string"
pattern = "[a-z]+"
max_length = 9
[columns.c]
type = "number"
"""
REPLIES = b'[[reply]]\nintent = "late"\nlanguage = "en"\ntext = "Sorry."\nvalid_until = 2027-01-01\n'
STAGES = (
    b"schema: '2.0'\nstages:\n  train:\n    cmd: train\n    outs:\n    - path: a.csv\n      md5: 0123\n      size: 4\n"
)
MLMODEL = (
    b"flavors:\n  sklearn:\n    pickled_model: MLmodel\nsignature:\n"
    b'  inputs: \'[{"name": "a", "type": "double", "required": true}]\'\n'
)
MAIL = b"From: ann@home.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x--\r\n"
UPDATE = PointerUpdate(
    name="a", pointer="live", number=1, release="sha256:1", previous="", at="2026-11-29", who="ann", why="b"
)
EVIDENCE = Evidence(
    subject="sha256:1",
    dataset="sha256:2",
    period="test",
    machine=Machine(cpu="", cores=1, system="", python=""),
    measurements=(Measurement(name="ece", value=0.01, low=0.0, high=0.02, method="bootstrap", n_rows=10),),
)
SCHEMA = b'{"fields": [{"name": "a", "type": "integer", "constraints": {"minimum": 1, "enum": [1, 2]}}]}'
TOKENIZER = b'{"model": {"vocab": {"a": 0}}, "pre_tokenizer": {"Regex": "\\\\s+"}}'
ENCODER = pack_encoder(EncoderHeader(tokenizer_bytes=len(TOKENIZER), width=2, max_tokens=8), TOKENIZER, b"graph")
NESTED = pack_models(NestedHeader(models=(NestedModel(engine="trees", size_bytes=3),)), b"abc")


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def segment() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return segments.save(Path(folder), {"key": ["a", None], "score": np.array([0.5, 1.0])}).read_bytes()


def signed_webhook(body: bytes) -> object:
    return read_webhook(body, sign_body(body, "secret", at_s=0), "secret", now_s=0)


def opened(engine: str) -> Callable[[Path], object]:
    return lambda path: load_engine(engine)(path.read_bytes(), {})


def read_as(function: Callable[[bytes], object]) -> Callable[[Path], object]:
    return lambda path: function(path.read_bytes())


PARSERS: dict[str, tuple[bytes | Callable[[], bytes], Callable[[Path], object]]] = {
    # name of the file: a real one, and its parser
    "headway.toml": ((DEMO / "headway.toml").read_bytes(), lambda path: config.load(path.parent, environment={})),
    "features.toml": ((DEMO / "features.toml").read_bytes(), lambda path: read_views(path.parent)),
    "contract.toml": (CONTRACT, load_contract),
    "replies.toml": (REPLIES, read_replies),
    "keys.toml": (b'[ann]\nsha256 = "%s"\nscopes = ["predict"]\nmade = "2026-11-29"\n' % (b"0" * 64), read_keys),
    "users.toml": (b'[ann]\nrole = "admin"\nmade = "2026-11-29"\nhash = "x"\n', read_users),
    "schema.json": (SCHEMA, lambda path: import_schema(path.name, path.parent)),
    "dvc.lock": (STAGES, read_stages),
    "rows.csv": (TABLE.write_csv().encode(), read_file),
    "rows.parquet": (written(TABLE.write_parquet), read_file),
    "rows.arrow": (written(TABLE.write_ipc), read_file),
    "labels.csv": (TABLE.write_csv().encode(), lambda path: read_label_file(path, DataSection(target="label"))),
    "labels.parquet": (written(TABLE.write_parquet), lambda path: read_label_file(path, DataSection(target="label"))),
    "annotations.csv": (TABLE.write_csv().encode(), read_annotations),
    "paraphrases.csv": (b"phrase,paraphrase\nbig,large\n", read_paraphrases),
    "log segment": (segment, segments.load),
    "release": (record.write(release()), read_as(lambda content: record.read(Release, content))),
    "evidence": (record.write(EVIDENCE), read_as(lambda content: record.read(Evidence, content))),
    "pointer update": (record.write(UPDATE), read_as(lambda content: record.read(PointerUpdate, content))),
    "signature": (b'{"algorithm":"ed25519","key":"ed25519:aa","signature":"aa"}', read_as(signer_of)),
    "trusted-keys.txt": (b"# keys\ned25519:" + b"A" * 43 + b"= ann\n", load_trusted),
    "config.json": (b'{"model_type": "bert", "auto_map": {}}', lambda path: read_config(path.parent)),
    "MLmodel": (MLMODEL, lambda path: find_model(path.parent, shown="model")),
    "webhook": (b'{"id": "1", "text": "hello"}', read_as(signed_webhook)),
    "encoder": (ENCODER, read_as(split_encoder)),
    "models": (NESTED, read_as(split_models)),
    "lightgbm.txt": (lambda: text("multiclass").encode(), read_as(read_lightgbm)),
    "xgboost.ubj": (lambda: ubj("multi:softprob"), read_as(read_xgboost)),
    "catboost.cbm": (lambda: cbm("MultiClass"), read_as(read_catboost)),
    "graph.onnx": (lambda: softmax(3, DOUBLE), read_as(external_files)),
    "forest": (lambda: compile_forest(made(Shape(width=4, outputs=3), seed=0)), opened("trees")),
    "network": (
        lambda: lower_graph(random_networks.random_network(random_networks.Shape(looked=0, numbers=4, outputs=3))),
        opened("dense"),
    ),
    "text": (lambda: text_program(fitted("union"), columns=None, width=1, texts=[0]), opened("text")),
    "mail": (MAIL, read_as(lambda content: read_mail(content, source="imap"))),
    "form": (b"name=a&value=%20b", read_as(parse_form)),
    "metrics": (b'a_total{b="c"} 1\n', read_as(lambda content: parse_metrics(content.decode("utf-8", "replace")))),
}
PIECES = [
    b"9" * 5000,
    b"[" * 3000,
    b'{"a":' * 2000,
    b"\0",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b"[[a]]\n",
    b"[a]\n",
    b"= ",
    b"NaN",
]
PIECES += [b"-1", b"1e999", b"null", b"true", b"\xff\xff\xff\x7f", b"\xff" * 8, b"2026-13-41", b"\xed\xa0\x80", b"{}"]


@st.composite
def edits(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """Draw changes of bytes: where, as a share of their length, how many are removed, and what comes there."""
    place = st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=4))
    return draw(st.lists(place, min_size=1, max_size=5))


def changed(content: bytes, places: list[tuple[float, int, bytes]]) -> bytes:
    for share, removed, added in places:
        at = int(share * len(content))
        content = content[:at] + added + content[at + removed :]
    return content


@functools.cache
def seed_of(name: str) -> bytes:
    seed = PARSERS[name][0]
    return seed if isinstance(seed, bytes) else seed()


@pytest.mark.parametrize("name", PARSERS)
def test_the_real_file_is_read(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(seed_of(name))
    path.chmod(0o600)
    PARSERS[name][1](path)


@pytest.mark.parametrize("name", PARSERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(places=edits())
@example(places=[(0.0, 10**9, b"")])
@example(places=[(0.0, 0, b"a = " + b"[" * 5000)])
@example(places=[(1.0, 0, b"\n[a]\nb = " + b"9" * 5000)])
@example(places=[(0.0, 0, b"\xef\xbb\xbf")])
@example(places=[(0.3, 0, b"\x80")])
@example(places=[(0.3, 0, b'{"a":' * 5000)])
@example(places=[(0.3, 10**9, b'\x80"}')])
def test_a_changed_file_is_read_or_refused(name, places, tmp_path):
    path = tmp_path / name
    path.write_bytes(changed(seed_of(name), places))
    path.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            PARSERS[name][1](path)
        except HeadwayError as error:
            assert error.what
