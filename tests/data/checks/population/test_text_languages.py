from __future__ import annotations

import sys

import numpy as np
import polars as pl
import pytest
from tests.data.tables import split_context

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.data.checks.population.text_languages import plugin
from headway.data.context import CheckContext
from headway.data.languages import detect_languages

ENGLISH = ("where is my parcel please", "my money is still not back", "can you change the address")
GERMAN = ("wo ist mein Paket geblieben", "mein Geld ist noch nicht zurück", "bitte ändern Sie die Adresse")


def messages(n: int = 900, *, german: object = 0.3, seed: int = 0, **roles: object) -> Dataset:
    """Return messages of 60 days, of which a share is German; a tenth is a single word."""
    draw = np.random.default_rng(seed)
    topics = draw.integers(0, 3, n)
    is_german = draw.random(n) < (german(topics, np.arange(n) / n) if callable(german) else german)
    texts = [(GERMAN if other else ENGLISH)[topic] for topic, other in zip(topics, is_german, strict=True)]
    table = pl.DataFrame(
        {
            "day": np.arange(n) * 60 // n,
            "message": ["ok" if row % 10 == 0 else text for row, text in enumerate(texts)],
            "topic": topics.astype(float),
        }
    )
    declared = {"target": "topic", "task": "multiclass", "classes": ("parcel", "refund", "address")}
    return Dataset(name="m", table=table, roles=Roles(**{**declared, "text": ("message",), **roles}))


def found(dataset: Dataset, *, split: bool = True) -> list[tuple[str, str]]:
    context = split_context(dataset) if split else CheckContext(dataset=dataset)
    return [(finding.severity, finding.message) for finding in plugin(context)]


def test_languages_are_counted_with_intervals_and_uncertain_texts_apart():
    ((severity, message),) = found(messages(groups="day"))

    assert severity == "note"
    assert message.startswith("languages of 900 texts of 'message': en 62.6% (95 % 59.7% to 65.4%), de 27.4% (95 % ")
    assert message.endswith("), uncertain 10.0%")


def test_a_language_that_comes_after_training_is_a_warning():
    late = messages(german=lambda topics, time: np.where(time > 0.75, 0.6, 0.05), time="day", groups="day")
    _, (severity, message) = found(late)

    assert severity == "warn"
    assert message.startswith("the languages of 'message' differ: de is the language of at least ")
    assert "% of test and at most " in message


def test_a_class_in_another_language_than_the_others_is_a_warning():
    ((_, _), (severity, message)) = found(messages(german=lambda topics, time: topics == 1, groups="day"))

    assert severity == "warn"
    assert "en is the language of at least 89.6% of the other classes and at most 9.1% of class refund" in message


def test_uncertain_texts_may_have_any_language_that_is_likely_for_them():
    """Of German returns the language is clear, and of English ones it is not: no class has one language alone."""
    texts = {"back": "i want to send order 5 back", "parcel": "where is my parcel please"}
    detected = detect_languages(pl.Series([*texts.values(), "ok"]))
    assert detected.codes.to_list() == [None, "en", None]
    assert detected.may_be("en").tolist() == [True, True, True]
    assert detected.may_be("de").tolist() == [False, False, True]

    dataset = messages(german=0.0, groups="day")
    returned = pl.when(pl.col("topic") == 0).then(pl.lit(texts["back"])).otherwise("message")
    table = dataset.table.with_columns(message=returned)
    assert [severity for severity, _ in found(Dataset(name="m", table=table, roles=dataset.roles))] == ["note"]


def test_few_groups_judge_no_difference():
    few = messages(german=lambda topics, time: topics == 1, groups="half")
    few = Dataset(name="m", table=few.table.with_columns(half=pl.col("day") // 10), roles=few.roles)
    notes = found(few, split=False)

    assert [severity for severity, _ in notes] == ["note", "note"]
    assert "no interval: too few groups" in notes[0][1]
    assert "which fewer than 20 groups cannot show: en is " in notes[1][1]


def test_equal_languages_are_seldom_called_different():
    warned = [
        any(severity == "warn" for severity, _ in found(messages(300, seed=seed, groups="day"))) for seed in range(40)
    ]
    assert sum(warned) <= 4


def test_it_does_not_judge_without_texts_or_without_the_library(monkeypatch):
    with pytest.raises(NotApplicable, match="no column of texts is declared"):
        plugin(CheckContext(dataset=messages(text=())))
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.delitem(sys.modules, "headway.data._languages", raising=False)
    with pytest.raises(NotApplicable, match="the language of a text needs 'py3langid'") as caught:
        plugin(CheckContext(dataset=messages()))
    assert caught.value.hint.startswith("pip install ")
