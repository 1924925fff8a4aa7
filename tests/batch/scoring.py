"""Projects with a live release, and files of rows, for the tests of this folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headway.batch.journal import Receipt
from headway.batch.predict import predict
from headway.core import config
from headway.core.calibrator import Calibrator
from headway.core.config import Config
from headway.core.evidence import Measurement
from headway.core.plugins import load_engine
from headway.core.record import digest_of, write
from headway.core.release import Release, SelfTest
from headway.core.selective import AnswerPlan, CertificateWithdrawal, SelectiveCertificate
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import init_keys
from headway.registry.withdrawals import KIND

NAME = "flights"
LIVE = f"{NAME}@live"
CARRIER = Field(name="carrier", datatype="BYTES", categories=("AA", "UA", "WN"))
MIXED = Signature(inputs=(Field(name="size"), CARRIER))
NUMBERS = Signature(inputs=tuple(Field(name=name) for name in "abc"))
Table = Mapping[str, Sequence[Any]]


def scoring_project(folder: Path, **fields: Any) -> Config:
    """Return a project with a live release; the echo model predicts the mean of its row."""
    folder.mkdir(exist_ok=True)
    (folder / "headway.toml").write_text('[trust]\npublisher_key = "keys/publisher.pem"\n')
    settings = config.load(folder, environment={})
    init_keys(
        settings.path(settings[TrustSection].publisher_key),
        settings.path(settings[TrustSection].trusted_keys),
        comment="a test",
    )
    publish(settings, **fields)
    return settings


def publish(
    settings: Config,
    *,
    signature: Signature = NUMBERS,
    content: bytes = b"echo",
    task: str = "binary",
    shift: float = 0.0,
    **fields: Any,
) -> str:
    """Publish a release, make it live, and return its digest; content is the echo, a compiled forest, or ONNX."""
    is_forest = content.startswith(b"headway forest")
    engine, format = ("trees", "forest") if is_forest else ("onnxruntime", "onnx")
    if content == b"echo":
        engine = format = "echo"
    artifact = Artifact(format=format, digest=digest_of(content), size_bytes=len(content))
    variant = Variant(artifact=artifact, engine=engine, signature=signature, task=task)
    width = len(signature.inputs)
    rows = np.arange(2.0 * width).reshape(2, width)
    answers = load_engine(engine)(content, {}).predict(rows)
    made = Release(
        name=NAME,
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest),
        calibrator=Calibrator(shift=shift),
        self_test=SelfTest(rows=tuple(map(tuple, rows.tolist())), answers=tuple(map(tuple, answers.tolist()))),
        **fields,
    )
    register = ModelRegistry.from_config(settings)
    digest = register.publish(made, {f"model.{artifact.format}": content})
    register.point(LIVE, digest, UpdateReason(who="ann", why="a test", verdict=made.verdict))
    register.state.close()
    return digest


def number_table(rows: int, *, seed: int = 0) -> pl.DataFrame:
    """Return a table of the columns a, b, c, with a key."""
    drawn = np.random.default_rng(seed).uniform(0, 1, (rows, 3)).round(6)
    return pl.DataFrame(drawn, schema=list("abc")).with_columns(key=pl.format("k-{}", pl.int_range(rows)))


def write_table(table: pl.DataFrame, path: Path) -> Path:
    """Write a table in the format of the suffix and return the path; `.arrow` is a stream."""
    if path.suffix == ".parquet":
        table.write_parquet(path)
    elif path.suffix == ".csv":
        table.write_csv(path)
    elif path.suffix == ".feather":
        table.write_ipc(path)
    else:
        table.write_ipc_stream(path, compat_level=pl.CompatLevel.oldest())
    return path


def read_table(path: Path) -> pl.DataFrame:
    """Read an output file."""
    if path.suffix == ".csv":
        return pl.read_csv(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ipc_stream(path)


def score_file(settings: Config, source: Path, out: Path, *keep: str, threads: int = 2) -> Receipt:
    """Score a file with the live release."""
    return predict(settings, LIVE, source, out, keep=keep, threads=threads)


def refused_rows(out: Path) -> list[tuple[int, str, str, str]]:
    """Return the refusals of an output: row, column, value and reason."""
    path = out.with_name(f"{out.name}.refused.csv")
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [(int(row), column, value, reason) for row, column, value, reason in list(csv.reader(file))[1:]]


def answer_plan() -> AnswerPlan:
    """Return a plan that answers both classes from a probability of .6."""
    share = Measurement(name="answer.coverage", value=0.6, low=0.5, high=0.7, method="a test", n_rows=1000)
    certificate = SelectiveCertificate(threshold=0.6, coverage=share, risk=share, limit=0.05)
    return AnswerPlan(rule="probability", thresholds={"0": 0.6, "1": 0.6}, certificate=certificate)


def withdraw(settings: Config, *classes: str) -> None:
    """Save that the certificate of the live release was withdrawn for classes."""
    register = ModelRegistry.from_config(settings)
    found = CertificateWithdrawal(
        name=NAME,
        release=register.resolve(LIVE).digest,
        classes=classes,
        risk=answer_plan().certificate.risk,
        limit=0.05,
        why="a test",
        at="2026-11-28T00:00:00+00:00",
    )
    register.state.save(KIND, write(found), name=NAME)
    register.state.close()
