"""Rows of texts over HTTP: requests with one novel text each to one worker on one core."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from harness import Result, Row, shown
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.texts import text_codes
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.data.contract.discovery import observed_contract
from headway.engines.compiled.text import TextModel
from headway.registry.model_registry import ModelRegistry
from serving.load import Case, Load, Plan, measure, quantile_ms
from serving.models import new_caller, point, posted, project
from serving.processes import LOAD_CORE, Server, ours, started
from text_rows import messages
from text_rows.speed import Pipeline

TURNS, SECONDS, TEXTS, CHECKED, SELF_TESTED = 5, 1.5, 60_000, 8, 20
BEST = 5
TINY = {"TURNS": 1, "SECONDS": 0.2, "TEXTS": 200}
LEAST_PER_S, MOST_MS = 25_000, 3.0


def texts() -> Result:
    """Send different texts for all probabilities, and for the best classes; check the first values of every answer."""
    pipeline = Pipeline.of("words")
    sent = _novel(messages.load().test.texts)
    scores = TextModel(pipeline.program, {}).score(sent)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        register = project(folder, {})
        point(register, "texts", _publish(register, pipeline))
        headers = [f"Authorization: Bearer {new_caller(folder)}"]
        every = [
            Case(request=_request(text, headers), answers=(tuple(row[:CHECKED].tolist()),))
            for text, row in zip(sent, scores, strict=True)
        ]
        best = [
            Case(request=_request(text, headers, BEST), answers=((float(row.max()),),))
            for text, row in zip(sent, scores, strict=True)
        ]
        with started(ours(folder, "texts"), asks=every[0].request) as server:
            plan = Plan(seconds=SECONDS, core=LOAD_CORE)
            forms = {"serve.texts": (every, plan), "serve.best_classes": (best, replace(plan, marker='"data":["'))}
            turns = [{name: _measured(server, *form) for name, form in forms.items()} for _ in range(TURNS)]
    rows = [row for name in forms for row in _rows(name, [turn[name] for turn in turns], pipeline.about())]
    return messages.with_source((rows, []))


def _measured(server: Server, cases: list[Case], plan: Plan) -> tuple[Load, float]:
    """Return what a load received, and the CPU time of all processes of the server for a request, in us."""
    before = server.cpu_s
    load = measure(server.port, cases, plan)
    return load, (server.cpu_s - before) * 1e6 / load.total


def _rows(name: str, turns: list[tuple[Load, float]], about: str) -> list[Row]:
    """Return rate, latency and CPU time of one form of request; only those for all probabilities have targets."""
    loads, cpu_us = [load for load, _ in turns], [us for _, us in turns]
    rates, p99_ms = [load.per_s for load in loads], quantile_ms(loads, 0.99)
    every = (
        f"{min(rates):,.0f} to {max(rates):,.0f} in {TURNS} turns, 32 connections, {TEXTS:,} texts, every answer read"
    )
    busy = median(load.busy for load in loads)
    against = f"{every}; the load used {busy:.0%} of its core; {about}"
    cpu = shown(f"{name}_cpu_us", median(cpu_us), "us", f"{min(cpu_us):.1f} to {max(cpu_us):.1f}, all processes")
    if name != "serve.texts":
        asked = f"the best {BEST} classes of each text"
        return [
            shown(f"{name}_per_s", median(rates), "1/s", f"{asked}; {against}"),
            shown(f"{name}_p99_ms", p99_ms, "ms", "the same requests"),
            cpu,
        ]
    return [
        Row(
            name=f"{name}_per_s",
            measured=median(rates),
            unit="1/s",
            target=f">= {LEAST_PER_S:,}",
            ok=median(rates) >= LEAST_PER_S,
            against=against,
        ),
        Row(
            name=f"{name}_p99_ms",
            measured=p99_ms,
            unit="ms",
            target=f"<= {MOST_MS:g}",
            ok=p99_ms <= MOST_MS,
            against="the same requests",
        ),
        cpu,
    ]


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


def _request(text: str, headers: list[str], classes: int = 0) -> bytes:
    """Return a request for all probabilities, or for the best classes."""
    body: dict[str, object] = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    if classes:
        body["outputs"] = [{"name": "probability", "parameters": {"classification": classes}}]
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
