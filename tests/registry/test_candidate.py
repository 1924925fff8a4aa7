"""A candidate of other code is read without a belief in what it says, and opened only if its models hold no code."""

from __future__ import annotations

import pickle
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from headway.core.dataset import Dataset
from headway.core.errors import DataError, Refused, StoreError
from headway.core.evidence import Evidence, Machine
from headway.core.record import digest_of
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Artifact, Field, Signature, Step, Variant
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.registry.candidate import CANDIDATE, read_candidate, write_candidate
from headway.storage.in_memory import InMemoryBlobs

ROWS = pl.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0], "after": [0.0, 1.0], "late": [0, 1]})


def rows(**settings: object) -> Dataset:
    times = {"a": "request", "b": "request", "after": "outcome"}
    return Dataset(name="test", table=ROWS, roles=parse_roles(DataSection(target="late", known=times, **settings)))


@pytest.fixture(scope="module")
def model() -> bytes:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(200, 2))
    data = lightgbm.Dataset(inputs, inputs[:, 0] > 0, feature_name=["a", "b"])
    trained = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, num_boost_round=2)
    return trained.model_to_string().encode()


def search_of(content: bytes, *names: str, task: str = "binary") -> tuple[SearchResult, InMemoryBlobs]:
    """Return a search whose winner is a step away from a baseline with the same bytes, and says that it passes."""
    blobs = InMemoryBlobs()
    artifact = Artifact(format="lightgbm", digest=blobs.put(content), size_bytes=len(content))
    signature = Signature(inputs=tuple(Field(name=name) for name in names or ("a", "b")))
    baseline = Variant(artifact=artifact, engine="lightgbm", signature=signature, task=task)
    winner = baseline.with_step(Step(transform="same"))
    evidence = Evidence(
        subject=winner.digest,
        dataset="d",
        period="test",
        machine=Machine(cpu="", cores=1, system="", python=""),
    )
    row = EvaluatedVariant(variant=winner, evidence=evidence, verdict=Verdict(answer="pass", subject=winner.digest))
    search = SearchResult(
        name="small", baseline=Baseline(model=baseline), evaluated=(row,), winner=row, at="2026-12-02"
    )
    return replace(search, reasons={"it": "says so"}), blobs


def test_a_candidate_is_read_with_its_models_and_without_what_it_measured(tmp_path: Path, model: bytes) -> None:
    search, blobs = search_of(model)
    write_candidate(tmp_path / "candidate", search, blobs)
    candidate, models = read_candidate(tmp_path / "candidate", rows())
    assert (candidate.baseline, candidate.winner.variant) == (search.baseline, search.winner.variant)
    assert (candidate.evaluated, candidate.reasons) == ((), {})
    assert list(models.digests()) == [digest_of(model)]


def test_a_candidate_that_holds_code_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    write_candidate(tmp_path, *search_of(pickle.dumps(print)))
    with pytest.raises(Refused, match="unsafe") as refused:
        read_candidate(tmp_path, rows())
    assert "headway scan" in refused.value.hint


def test_bytes_that_are_not_a_model_are_refused(tmp_path: Path) -> None:
    write_candidate(tmp_path, *search_of(b'{"tree": 1}'))
    with pytest.raises(Refused, match="is not judged: its format is not one that headway knows"):
        read_candidate(tmp_path, rows())


def test_models_that_were_changed_after_the_record_are_refused(tmp_path: Path, model: bytes) -> None:
    write_candidate(tmp_path, *search_of(model))
    [file] = (tmp_path / "models/sha256").glob("*/*")
    file.write_bytes(model + b"\n")
    with pytest.raises(StoreError, match="was altered"):
        read_candidate(tmp_path, rows())


def test_a_candidate_of_another_task_is_refused(tmp_path: Path, model: bytes) -> None:
    write_candidate(tmp_path, *search_of(model, task="regression"))
    with pytest.raises(Refused, match="is a regression model, and the project's task is binary"):
        read_candidate(tmp_path, rows())


@pytest.mark.parametrize(
    ("name", "reason"), [("after", "known only after"), ("late", "known only after"), ("new", "the table lacks")]
)
def test_a_candidate_reads_only_what_a_model_of_main_may_read(
    tmp_path: Path, model: bytes, name: str, reason: str
) -> None:
    write_candidate(tmp_path, *search_of(model, "a", name))
    with pytest.raises(DataError, match=reason):
        read_candidate(tmp_path, rows())


def test_a_folder_without_a_candidate_names_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no candidate can be read") as missing:
        read_candidate(tmp_path / "none", rows())
    assert missing.value.where.endswith(CANDIDATE) and "headway optimize --candidate" in missing.value.hint
