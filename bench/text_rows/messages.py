"""Messages with their intents: CLINC150 from a folder of the user, else generated ones; and pipelines over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from cache import folder, made, versions
from harness import Result

FILE, OUT_OF_SCOPE = "data_full.json", "oos"
INTENTS, PER_INTENT, OUTSIDE = 150, (100, 20, 30), (100, 100, 1_000)
TERMS, TERMS_PER_INTENT, WORDS = 1_500, 12, (3, 18)
OWN_SHARE, FOREIGN_SHARE = 0.3, 0.12
TINY = {"INTENTS": 12, "PER_INTENT": (20, 10, 10), "OUTSIDE": (10, 10, 20), "TERMS": 200}
C = 10.0
VECTORIZERS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
_data: list[Path] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Texts [n], and the intent of each [n]."""

    texts: list[str]
    intents: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Messages with an intent, and messages outside of all intents; `source` describes them."""

    train: Split
    validation: Split
    test: Split
    outside_train: Split
    outside_validation: Split
    outside_test: Split
    source: str


def read_from(directory: Path) -> None:
    """Read messages from `data_full.json` of a folder from now on."""
    if not (directory / FILE).is_file():
        raise SystemExit(f"{directory} has no {FILE}; pass the folder `data` of github.com/clinc/oos-eval")
    _data[:] = [directory / FILE]


@cache
def load() -> Messages:
    """Return the messages."""
    if not _data:
        return _generated()
    parts = json.loads(_data[0].read_text("utf-8"))
    split = {name: _split(*zip(*rows, strict=True)) for name, rows in parts.items()}
    return Messages(
        train=split["train"],
        validation=split["val"],
        test=split["test"],
        outside_train=split["oos_train"],
        outside_validation=split["oos_val"],
        outside_test=split["oos_test"],
        source="CLINC150",
    )


def fitted(name: str) -> Path:
    """Return the folder with the fitted pipeline of VECTORIZERS in `model.joblib`; it is fitted once."""
    train = load().train
    options = [f"{key}={value}" for key, value in sorted(VECTORIZERS[name].items())]
    parts = [*versions(("numpy", "scikit-learn")), *options, str(C), *train.texts, *train.intents]

    def fit(directory: Path) -> None:
        pipeline = make_pipeline(TfidfVectorizer(**VECTORIZERS[name]), LogisticRegression(C=C))
        joblib.dump(pipeline.fit(train.texts, train.intents), directory / "model.joblib")

    return made(folder(f"text-{name}", of=parts), fit)


def on_generated() -> list[str]:
    """Return a sentence that says so if the messages are generated."""
    if _data:
        return []
    return [f"{load().source}: accuracy, coverage and agreement are not those of people's messages; pass --data"]


def with_source(result: Result) -> Result:
    """Add that sentence to the result of a part."""
    rows, short = result
    return rows, [*short, *on_generated()]


def _split(texts: Sequence[str], intents: Sequence[str]) -> Split:
    return Split(texts=list(texts), intents=list(intents))


def _generated() -> Messages:
    """Draw messages: words of the intent, words of another one, and words that all share, more frequent ones first."""
    draw = np.random.default_rng(22)
    terms = _terms(draw, TERMS)
    own = [draw.choice(terms, TERMS_PER_INTENT, replace=False) for _ in range(INTENTS)]
    frequency = 1 / np.arange(1, TERMS + 1)
    frequency /= frequency.sum()

    def message(intent: int) -> str:
        kinds = draw.random(int(draw.integers(*WORDS)))
        common = draw.choice(terms, len(kinds), p=frequency)
        other = own[int(draw.integers(INTENTS))]
        words = [
            str(draw.choice(own[intent]) if kind < OWN_SHARE and intent >= 0 else draw.choice(other))
            if kind < OWN_SHARE + FOREIGN_SHARE
            else str(word)
            for kind, word in zip(kinds, common, strict=True)
        ]
        return " ".join(words)

    def split(count: int) -> Split:
        rows = [(message(intent), f"intent {intent}") for _ in range(count) for intent in range(INTENTS)]
        return _split(*zip(*rows, strict=True))

    def outside(count: int) -> Split:
        return _split([message(-1) for _ in range(count)], [OUT_OF_SCOPE] * count)

    train, validation, test = (split(count) for count in PER_INTENT)
    outside_train, outside_validation, outside_test = (outside(count) for count in OUTSIDE)
    return Messages(
        train=train,
        validation=validation,
        test=test,
        outside_train=outside_train,
        outside_validation=outside_validation,
        outside_test=outside_test,
        source=f"generated messages of {INTENTS} intents",
    )


def _terms(draw: np.random.Generator, count: int) -> list[str]:
    """Return that many different words of syllables."""
    syllables = [f"{first}{vowel}" for first in "bdfgklmnprstv" for vowel in "aeiou"]
    terms: dict[str, None] = {}
    while len(terms) < count:
        terms["".join(draw.choice(syllables, int(draw.integers(1, 5))))] = None
    return list(terms)
