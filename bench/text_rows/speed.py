"""Rows of speed and parity: pipelines over texts in the kernel, in scikit-learn, and in ONNX Runtime, by turns.

`one_row` is the 10th percentile of calls with one text, 509 different ones, by the wall clock; `batch256` is CPU time.
`us` is the median of calls with different texts of 12 words.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import numpy as np

from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.texts import text_program
from headway.evaluation.machine_load import LoadMeter
from headway.evaluation.statistics.percentiles import median_interval
from optimization.family_rows import largest_change
from optimization.paired_timing import Caller, race
from text_rows import messages

ROUNDS, CALLS, LENGTH, MOST_TEXTS = 15, 2_000, 12, 1_000_000
TINY = {"ROUNDS": 1, "CALLS": 20, "MOST_TEXTS": 50}
KINDS = ("one_row", "batch256")
LEAST = {"one_row": (60.0, 3.0), "batch256": (12.0, 2.0)}
UNITS = {"one_row": "us", "batch256": "us of CPU"}
EDGES = (
    *(
        "",
        " ",
        "\t\r\n\x0b\x0c",
        "\x00",
        "\x1c\x85\u2028\u3000",
        "a",
        "A b C",
        "?!",
        "x_y __ 42 3.14",
        "İstanbul ıI ﬁ ™ ²",
    ),
    *(
        "I\u2019d like, don't",
        "CAFÉ café cafe\u0301 straße",
        "😀 👩‍👩‍👧 👍🏽",
        "東京の天気",
        "привет мир",
        "مرحبا",
        "नमस्ते",
        "١٢٣",
    ),
    *("a" * 60_000, "word " * 12_000),
)
"""Texts on which tokenizers differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A fitted pipeline, the folder of its file, and its program for the kernel."""

    model: Any
    folder: Path
    program: bytes

    @classmethod
    def of(cls, name: str) -> Pipeline:
        """Fit the pipeline or read it, and compile it."""
        directory = messages.fitted(name)
        model = joblib.load(directory / "model.joblib")
        program = text_program(model, columns=None, width=1, texts=[0])
        (directory / "program").write_bytes(program)
        return cls(model=model, folder=directory, program=program)

    def about(self) -> str:
        """Describe the pipeline and its texts."""
        size, classes = len(self.model[0].vocabulary_), len(self.model[-1].classes_)
        return f"{messages.load().source}, {size:,} n-grams, {classes} classes"


def words() -> Result:
    """Measure TF-IDF of words and pairs of words with logistic regression."""
    return _measured("words", "text")


def characters() -> Result:
    """Measure TF-IDF of 2 to 4 characters within words with logistic regression."""
    return _measured("characters", "text_characters")


def _measured(name: str, prefix: str) -> Result:
    pipeline, meter = Pipeline.of(name), LoadMeter()
    meter.spin()
    rows, short = _timed(pipeline, prefix)
    rows.append(_kernel_us(pipeline, prefix))
    meter.spin()
    if busy := meter.busy():
        short = [*short, f"{prefix}: {busy.what}"]
    return messages.with_source(([*rows, *_parity(pipeline, prefix)], short))


def _timed(pipeline: Pipeline, prefix: str) -> Result:
    """Compare the times of the kernel with those of the others, round by round."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "texts.joblib"
        joblib.dump(np.array(messages.load().test.texts, dtype=object), file)
        ours = Caller(name="ours", call="of_headway:text_kernel", model=pipeline.folder, rows=file)
        called = replace(ours, name="as called", call="of_sklearn:on_texts", threads=0)
        callers = [
            ours,
            called,
            replace(called, name="one thread", threads=1),
            replace(ours, name="ONNX Runtime", call="of_onnxruntime:of_texts", home="trees"),
        ]
        timed, absent = race(callers, rounds=ROUNDS)
    short = [f"{prefix}: {name} was not measured: {why}" for name, why in absent.items()]
    if not {"ours", "as called", "one thread"} <= timed.keys():
        return [], short
    rows = list[Row]()
    for kind, other in zip(KINDS, ("as called", "one thread"), strict=True):
        row = _ratio(f"{prefix}.{kind}", kind, timed[other], timed["ours"], LEAST[kind][0])
        rows.append(replace(row, against=f"scikit-learn {other}, {row.against}; {pipeline.about()}"))
    if "ONNX Runtime" in timed:
        about = _changes(timed["one thread"].answers, timed["ONNX Runtime"].answers)
        for kind in KINDS:
            row = _ratio(f"{prefix}.onnx_{kind}", kind, timed["ONNX Runtime"], timed["ours"], LEAST[kind][1])
            rows.append(replace(row, against=f"ONNX Runtime on one thread, {row.against}; {about}"))
    return rows, short


def _changes(expected: Floats, found: Floats) -> str:
    """Say how far scores are from the expected ones, of which there may be more."""
    different = int((expected[: len(found)].argmax(axis=1) != found.argmax(axis=1)).sum())
    change = largest_change(expected, found)
    return f"its scores change by up to {change:.2g}, and {different} of {len(found):,} decisions"


def _ratio(name: str, kind: str, theirs: Any, ours: Any, least: float) -> Row:
    pairs = zip(getattr(theirs, kind), getattr(ours, kind), strict=True)
    ratios = np.array([other / own for other, own in pairs])
    value, spread = _interval(ratios)
    figures = f"{theirs.us(kind):.4g} {UNITS[kind]}, ours {ours.us(kind):.4g}"
    ok = value >= least
    return Row(name=name, measured=value, unit="x", target=f">= {least:g}", ok=ok, against=f"{figures}; {spread}")


def _interval(values: Floats) -> tuple[float, str]:
    """Return the median of rounds, and its interval in words."""
    try:
        found = median_interval("text", values, of="rounds")
    except NotApplicable:
        return float(median(values)), f"{len(values)} rounds, too few for an interval"
    return found.value, f"95 % {found.low:.3g} to {found.high:.3g}, {len(values)} rounds"


def _kernel_us(pipeline: Pipeline, prefix: str) -> Row:
    """Time the kernel alone on texts of 12 words, a different one at every call."""
    score = TextModel(pipeline.program, {}).score
    texts = [text for text in messages.load().test.texts if len(text.split()) == LENGTH]
    calls = [[text] for text in np.resize(np.array(texts, dtype=object), CALLS)]
    medians, tails = [], []
    for _ in range(ROUNDS):
        times = np.array([_ns(score, texts) for texts in calls]) / 1e3
        medians.append(float(np.median(times)))
        tails.append(float(np.quantile(times, 0.99)))
    value, spread = _interval(np.array(medians))
    against = f"median call, {spread}; p99 {median(tails):.3g} us; {len(texts)} messages of {LENGTH} words"
    return Row(name=f"{prefix}.us", measured=value, unit="us", target="<= 20", ok=value <= 20, against=against)


def _ns(score: Any, texts: Sequence[str]) -> int:
    before = time.perf_counter_ns()
    score(texts)
    return time.perf_counter_ns() - before


def _parity(pipeline: Pipeline, prefix: str) -> list[Row]:
    """Compare all scores and decisions of texts with the library's, and the accuracy that both have."""
    known = messages.load()
    texts = _texts()
    expected, found = pipeline.model.predict_proba(texts), TextModel(pipeline.program, {}).score(texts)
    change = float(np.nan_to_num(np.abs(expected - found), nan=np.inf).max())
    different = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    n_test = min(len(known.test.texts), MOST_TEXTS)
    correct = pipeline.model.classes_[found[:n_test].argmax(axis=1)] == np.array(known.test.intents[:n_test])
    against = f"scikit-learn on {len(texts):,} texts, {len(EDGES)} of them edge cases"
    return [
        Row(
            name=f"{prefix}.max_change",
            measured=change,
            unit="",
            target="<= 1e-06",
            ok=change <= 1e-6,
            against=against,
        ),
        Row(
            name=f"{prefix}.decisions_different",
            measured=different,
            unit="texts",
            target="0",
            ok=different == 0,
            against=against,
        ),
        shown(f"{prefix}.accuracy", float(correct.mean()), "share", f"{n_test:,} test messages, {pipeline.about()}"),
    ]


def _texts() -> list[str]:
    """Return all texts of the test, those outside of all intents, changed ones, and the edge cases."""
    known = messages.load()
    plain = [*known.test.texts[:MOST_TEXTS], *known.outside_test.texts[:MOST_TEXTS]]
    changed = [f"{text.upper()}!! {text[::-1]}" for text in plain]
    return [*plain, *changed, *EDGES, *(f"{text}, é{edge[:200]}" for text, edge in zip(plain, EDGES, strict=False))]
