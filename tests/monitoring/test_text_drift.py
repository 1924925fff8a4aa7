"""Drift of texts: words and answers that come and go are named, without a word that only one person has."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.data.context import Windows
from headway.monitoring.budget import WEALTH
from headway.monitoring.forecast import distances_of_shares
from headway.monitoring.input_drift import judge_inputs
from headway.monitoring.scored_rows import ScoredRows
from headway.monitoring.text_drift import ANSWER, CONFIDENCE, DistinctTexts, Vocabulary, with_text_features

INTENTS = {
    "delivery": [
        "where",
        "is",
        "my",
        "parcel",
        "it",
        "should",
        "arrive",
        "by",
        "courier",
        "today",
        "please",
        "look",
        "at",
        "the",
        "tracking",
    ],
    "refund": [
        "money",
        "back",
        "for",
        "this",
        "order",
        "I",
        "paid",
        "twice",
        "on",
        "my",
        "card",
        "please",
        "return",
        "the",
        "charge",
    ],
    "account": [
        "my",
        "password",
        "is",
        "locked",
        "and",
        "login",
        "fails",
        "please",
        "reset",
        "the",
        "name",
        "of",
        "my",
        "account",
    ],
}
SIGNATURE = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),), classes=tuple(sorted(INTENTS)))


def messages(days: range, *, a_day: int = 40, refunds: float = 1 / 3, add: str = "", seed: int = 0) -> ScoredRows:
    """Return messages of days, a share of which are refunds; `add` is appended to half of those."""
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(days.start, days.stop), a_day)
    names = sorted(INTENTS)
    shares = [refunds if name == "refund" else (1 - refunds) / 2 for name in names]
    answers = draw.choice(len(names), len(groups), p=shares)
    texts = [" ".join(draw.choice(INTENTS[names[answer]], draw.integers(3, 13))) for answer in answers]
    texts = [f"{text} {add}" if add and row % 2 else text for row, text in enumerate(texts)]
    nothing, times = np.full(len(groups), np.nan), groups.astype("datetime64[D]").astype("datetime64[us]")
    return ScoredRows(
        name="",
        table=pl.DataFrame({"message": texts}),
        times=times,
        rows=np.array(text_codes.keep(texts))[:, None],
        scores=nothing,
        labels=nothing,
        labeled_at=times,
        groups=groups,
        run=7,
        texts=(0,),
        answers=answers.astype(np.int64),
        confidence=draw.uniform(0.6, 1.0, len(groups)),
    )


def judged(after: ScoredRows, *, alpha: float = 0.01):
    """Return what is found of a period, against 56 days of reference."""
    before = messages(range(56))
    between = before.subset(np.zeros(len(before), np.bool_))
    windows = Windows(
        before=before.detector_window(),
        between=between.detector_window(),
        after=after.detector_window(),
        signature=SIGNATURE,
        alpha=alpha,
    )
    return judge_inputs(
        with_text_features(windows, before, between, after, classes=SIGNATURE.classes), year_alpha=WEALTH["drift"]
    )


def sentences(drift) -> dict[str, str]:
    """Return the messages of the findings, by feature."""
    return {found.where: found.message for found in drift.findings}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_messages_of_the_same_intents_raise_no_alarm(seed):
    drift = judged(messages(range(56, 63), seed=seed))
    assert not drift.alarm
    features = {found.slice for found in drift.measurements}
    assert features == {"", "message", "unknown words in message", "words of message", ANSWER, CONFIDENCE}


def test_a_shift_of_intents_names_the_answers_and_words_that_came_and_went():
    found = sentences(judged(messages(range(56, 63), refunds=0.7, seed=1)))
    assert "more often 'refund' (33.0% before, 68.2% now)" in found[ANSWER]
    assert "less often 'account' (33.7% before, 15.4% now), 'delivery'" in found[ANSWER]
    assert "2,240 texts before, 280 now" in found[ANSWER]
    assert "'paid'" in found["words of message"] and "less often" in found["words of message"]


def test_new_words_are_named_with_their_share():
    found = sentences(judged(messages(range(56, 63), add="voucher", seed=1)))
    assert (
        "% of its words are in no text that the release was judged on, and 0.0% were"
        in found["unknown words in message"]
    )
    assert "more often 'voucher' (0.0% before, 50.0% now)" in found["words of message"]


def test_longer_texts_are_found_with_their_words_on_average():
    found = sentences(judged(messages(range(56, 63), add="please look at my order today", seed=1)))
    assert "a text has 10.3 words on average, and had 7.3" in found["message"]


@pytest.mark.parametrize("add", ["Ada", "4711", "ada@example.org"])
def test_names_numbers_and_addresses_are_not_shown(add):
    found = sentences(judged(messages(range(56, 63), add=add, seed=1)))
    assert found and not any(add in message for message in found.values())


def test_a_word_that_few_texts_have_is_not_shown():
    after = messages(range(56, 63), add="voucher", seed=1)
    rare = np.array(text_codes.keep(["my zyzzyva is lost", "a zyzzyva please", "zyzzyva"]))[:, None]
    after = dataclasses.replace(after, rows=np.concatenate([rare, after.rows[3:]]))
    assert not any("zyzzyva" in message for message in sentences(judged(after)).values())


def test_texts_without_a_word_to_show_are_counted_alone():
    after = messages(range(56, 63), seed=1)
    after = dataclasses.replace(after, rows=np.array(text_codes.keep(["CAPS LOCK"] * len(after)))[:, None])
    before = dataclasses.replace(after, rows=np.array(text_codes.keep(["OTHER CAPS"] * len(after)))[:, None])
    windows = Windows(before=before.detector_window(), after=after.detector_window(), signature=SIGNATURE)
    wide = with_text_features(windows, before, before, after, classes=SIGNATURE.classes)
    assert wide.sentences["words of message"]().startswith("no word that 5 texts have in lower case shows how")


def test_a_lower_confidence_is_found():
    after = messages(range(56, 63), seed=1)
    found = sentences(judged(dataclasses.replace(after, confidence=after.confidence - 0.3)))
    assert "it is 0.49 on average, and was 0.80" in found[CONFIDENCE]


def test_rows_of_a_log_that_samples_count_as_their_requests():
    after = messages(range(56, 63), refunds=0.7, a_day=200, seed=1)
    refund = after.answers == sorted(INTENTS).index("refund")
    draw = np.random.default_rng(0)
    kept = draw.random(len(after)) < np.where(refund, 0.1, 0.5)
    sampled = dataclasses.replace(after.subset(kept), weights=np.where(refund, 10.0, 2.0)[kept])
    found = sentences(judged(sampled))[ANSWER]
    share = float(found.split("'refund' (")[1].split("before, ")[1].split("%")[0])
    assert share == pytest.approx(70, abs=7)


def test_words_of_a_group_are_compared_with_the_other_groups():
    texts = DistinctTexts(np.array(text_codes.keep(["old words", "old words", "own words", ""])))
    groups = np.array([0, 1, 2, 2])
    vocabulary = Vocabulary(texts, groups)
    assert vocabulary.unknown_shares(texts, groups, own=True).tolist() == [0, 0, 0.5, 0]
    later = DistinctTexts(np.array(text_codes.keep(["own words", "own words", "new ones"])))
    # group 5 is compared with the reference without its group 2, and group 6 without its group 0
    assert vocabulary.unknown_shares(later, np.array([5, 6, 6]), own=False).tolist() == [0.5, 0, 1]


def test_a_model_without_classes_has_features_of_its_texts_alone():
    part = dataclasses.replace(messages(range(30)), answers=None, confidence=None)
    windows = Windows(before=part.detector_window(), after=part.detector_window(), signature=SIGNATURE)
    wide = with_text_features(windows, part, part, part, classes=SIGNATURE.classes)
    assert wide.derived == ("unknown words in message", "words of message")
    assert wide.between is None and wide.after.rows.shape[1] == 3


def test_shares_are_not_judged_from_less_than_four_weeks_or_without_texts():
    part = messages(range(27))
    windows = Windows(before=part.detector_window(), after=part.detector_window(), signature=SIGNATURE)
    assert distances_of_shares(windows) is None
    assert distances_of_shares(with_text_features(windows, part, part, part, classes=SIGNATURE.classes)) is None


def test_a_shift_of_one_of_several_labels_names_its_share():
    def labeled(rows: ScoredRows, share: float, seed: int) -> ScoredRows:
        draw = np.random.default_rng(seed)
        labels = np.column_stack([draw.random(len(rows)) < chance for chance in (0.3, share, 0.1)]).astype(np.int64)
        return dataclasses.replace(rows, answers=labels, confidence=None)

    before = labeled(messages(range(56)), 0.3, 0)
    nothing = before.subset(np.zeros(len(before), np.bool_))
    found = {}
    for share in (0.3, 0.7):
        after = labeled(messages(range(56, 63), seed=1), share, 1)
        parts = [part.detector_window() for part in (before, nothing, after)]
        windows = Windows(before=parts[0], between=parts[1], after=parts[2], signature=SIGNATURE, alpha=0.01)
        wide = with_text_features(windows, before, nothing, after, classes=SIGNATURE.classes)
        found[share] = sentences(judge_inputs(wide, year_alpha=WEALTH["drift"]))
    name = f"label '{SIGNATURE.classes[1]}'"
    assert name not in found[0.3]
    assert "the model gives it to 70.7% of the texts, and gave it to 29.5%" in found[0.7][name]
