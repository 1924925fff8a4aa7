"""Rows of texts over HTTP: requests with one novel text each to one worker on one core."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from harness import Result, Row
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.texts import text_codes
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.data.contract.discovery import observed_contract
from headway.engines.compiled.text import TextModel
from headway.registry.model_registry import ModelRegistry
from serving.load import Case, Plan, measure, quantile_ms
from serving.models import new_caller, point, posted, project
from serving.processes import LOAD_CORE, ours, started
from text_rows import messages
from text_rows.speed import Pipeline

TURNS, SECONDS, TEXTS, CHECKED, SELF_TESTED = 5, 1.5, 60_000, 8, 20
TINY = {"TURNS": 1, "SECONDS": 0.2, "TEXTS": 200}
LEAST_PER_S, MOST_MS = 25_000, 3.0


def texts() -> Result:
    """Send different texts, and check the first probabilities of every answer."""
    pipeline = Pipeline.of("words")
    sent = _novel(messages.load().test.texts)
    scores = TextModel(pipeline.program, {}).score(sent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        register = project(folder, {})
        point(register, "texts", _publish(register, pipeline))
        headers = [f"Authorization: Bearer {new_caller(folder)}"]
        cases = [
            Case(request=_request(text, headers), answers=(tuple(row[:CHECKED].tolist()),))
            for text, row in zip(sent, scores, strict=True)
        ]
        with started(ours(folder, "texts"), asks=cases[0].request) as server:
            plan = Plan(seconds=SECONDS, core=LOAD_CORE)
            loads = [measure(server.port, cases, plan) for _ in range(TURNS)]
    rates, p99_ms = [load.per_s for load in loads], quantile_ms(loads, 0.99)
    about = (
        f"{min(rates):,.0f} to {max(rates):,.0f} in {TURNS} turns, 32 connections, {TEXTS:,} texts, every answer read"
    )
    per_s, load_busy = median(rates), median(load.busy for load in loads)
    ok = per_s >= LEAST_PER_S
    rows = [
        Row(
            name="serve.texts_per_s",
            measured=per_s,
            unit="1/s",
            target=f">= {LEAST_PER_S:,}",
            ok=ok,
            against=f"{about}; the load used {load_busy:.0%} of its core; {pipeline.about()}",
        ),
        Row(
            name="serve.texts_p99_ms",
            measured=p99_ms,
            unit="ms",
            target=f"<= {MOST_MS:g}",
            ok=p99_ms <= MOST_MS,
            against="the same requests",
        ),
    ]
    return messages.with_source((rows, []))


def _novel(known: list[str]) -> list[str]:
    """Return different texts: beginnings and ends of two known ones each."""
    draw, found = np.random.default_rng(3), dict[str, None]()
    for number in range(10 * TEXTS):
        first, second = (known[index].split() for index in draw.integers(0, len(known), 2))
        text = " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
        found[text if text not in found else f"{text} {number}"] = None
        if len(found) == TEXTS:
            break
    return list(found)


def _request(text: str, headers: list[str]) -> bytes:
    body = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    return posted("/v2/models/texts/infer", json.dumps(body, separators=(",", ":")).encode(), headers)


def _publish(register: ModelRegistry, pipeline: Pipeline) -> str:
    """Publish a release of the program; its self-test and contract are of training texts."""
    artifact = Artifact(format="text", digest=digest_of(pipeline.program), size_bytes=len(pipeline.program))
    signature = Signature(
        inputs=(Field(name="text", datatype="BYTES", is_text=True),), classes=tuple(map(str, pipeline.model.classes_))
    )
    variant = Variant(artifact=artifact, engine="text", signature=signature, task="multiclass")
    train = messages.load().train.texts
    sample = train[:SELF_TESTED]
    answers = TextModel(pipeline.program, {}).score(sample)
    test = SelfTest(
        rows=tuple((float(number),) for number in range(len(sample))),
        answers=tuple(map(tuple, answers.tolist())),
        texts={"text": tuple(sample)},
    )
    rows = np.asarray(text_codes.keep(train), dtype=np.float64).reshape(-1, 1)
    release = Release(
        name="texts",
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest, by="benchmark", why="to be measured"),
        self_test=test,
        contract=observed_contract(rows, signature, margin=0.1),
    )
    return register.publish(release, {"model.text": pipeline.program})
